"""Products of two stacks of matrices in one launch, with broadcast and summed axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.products.gemm import Gemm
from nnlib.precision import DTypeName
from sim.chip.memory import Array, MemoryArray, Shape

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class StackedGemm:
    """``c[i] = op(a[i])·op(b[i])`` over leading axes: ``gemm`` for each pair of matrices.

    ``a_leading``, ``b_leading``, ``c_leading``: lengths of as many leading axes, 1 where an operand has one matrix for
    all. Where c has length 1 and the operands do not, c is the sum of their products: the gradient of an operand that
    was broadcast. Raises ValueError for lengths that do not fit, or a gemm that adds to c.
    """

    gemm: Gemm
    a_leading: Shape
    b_leading: Shape
    c_leading: Shape

    def __post_init__(self) -> None:
        if self.gemm.accumulate:
            raise ValueError("a stack of products adds to none that was there before")
        for lengths in zip(self.a_leading, self.b_leading, self.c_leading, strict=True):
            if len(set(lengths) - {1}) > 1:
                raise ValueError(f"lengths {lengths} of a leading axis do not fit: each is 1 or the same as others")

    @property
    def name(self) -> str:
        return "stacked_gemm"

    @property
    def dtype(self) -> DTypeName:
        return self.gemm.dtype

    @property
    def leading(self) -> Shape:
        """Lengths of the leading axes of all products."""
        return tuple(max(lengths) for lengths in zip(self.a_leading, self.b_leading, self.c_leading, strict=True))

    def parameters(self) -> tuple[Parameter, ...]:
        """a, b and c."""
        leading = {"a": self.a_leading, "b": self.b_leading, "c": self.c_leading}
        return tuple(replace(each, shape=(*leading[each.name], *each.shape)) for each in self.gemm.parameters())

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """All at once."""
        a = arrays["a"].swapaxes(-1, -2) if self.gemm.transpose_a else arrays["a"]
        b = arrays["b"].swapaxes(-1, -2) if self.gemm.transpose_b else arrays["b"]
        product = np.broadcast_to(a @ b, (*self.leading, self.gemm.m, self.gemm.n))
        arrays["c"][...] = product.sum(axis=self._summed, keepdims=True)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The gemm's program for each pair, summed axes innermost. Raises InfeasiblePlan if no tile fits the LDM."""
        kept = [axis for axis in range(len(self.leading)) if axis not in self._summed]
        self._nest(core_group, arguments, [*kept, *self._summed], {}, first=True)

    @property
    def _summed(self) -> tuple[int, ...]:
        """The leading axes over which products are summed."""
        return tuple(
            axis
            for axis, (all_products, results) in enumerate(zip(self.leading, self.c_leading, strict=True))
            if results < all_products
        )

    def _nest(
        self, core_group: CoreGroup, arguments: Arguments, axes: list[int], place: dict[int, int], *, first: bool
    ) -> None:
        """Loops over ``axes`` at a place of the other ones. ``first``: nothing has been summed there yet."""
        if not axes:
            parts = {name: _matrix(array, place) for name, array in arguments.items()}
            replace(self.gemm, accumulate=not first).program(core_group, parts)
            return
        axis, *inner = axes
        summed = axis in self._summed
        length = self.leading[axis]
        steady = range(1 if summed else 0, length)
        for index in core_group.loop(f"leading axis {axis}", length, steady=steady):
            begins = first and not (summed and index > 0)
            self._nest(core_group, arguments, inner, {**place, axis: index}, first=begins)


def _matrix(array: MemoryArray, place: Mapping[int, int]) -> MemoryArray:
    """The matrix of a stack at a place of the leading axes; the only one where there is one for all."""
    for axis in sorted(place):
        array = array.select(0, min(place[axis], array.shape[0] - 1))
    return array
