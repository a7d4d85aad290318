"""What the names of an ONNX graph stand for while it is being imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.layers.layer import Shape


class Unsupported(Exception):
    """An operator, or a use of it, that the library has no layers for; the text says which."""


@dataclass(frozen=True)
class Tensor:
    """The output of a layer, or an input: how its numbers lie, and which axes ONNX sees in them.

    ``stored`` is the shape as it lies, batch in front. ONNX's axes are made of the stored ones, its factors: ``order``
    has the number of the factor at each place, counted through ONNX's axes in their order, and ``groups`` how many
    factors each ONNX axis is the product of; empty stands for one each. Only the axis with the batch has several:
    (steps, batch·heads, features) lies as (batch, steps, heads, features) with the order (1, 0, 2, 3) and the groups
    (1, 2, 1).
    """

    name: str
    order: tuple[int, ...]
    stored: Shape
    groups: tuple[int, ...] = ()
    integer: bool = False

    @property
    def counts(self) -> tuple[int, ...]:
        """How many factors each ONNX axis has."""
        return self.groups or (1,) * len(self.order)

    @property
    def rank(self) -> int:
        """The number of ONNX axes."""
        return len(self.counts)

    @property
    def plain(self) -> bool:
        """True where the batch is an axis of its own."""
        return self.rank == len(self.order)

    @property
    def factors(self) -> Shape:
        """The lengths of the factors in ONNX's order."""
        found = [0] * len(self.order)
        for factor, length in zip(self.order, self.stored, strict=True):
            found[factor] = length
        return tuple(found)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first factor of each ONNX axis, and the number of factors."""
        return (0, *accumulate(self.counts))

    def factors_of(self, axis: int) -> range:
        """The numbers of an ONNX axis's factors."""
        starts = self.starts
        return range(starts[axis], starts[axis + 1])

    @property
    def shape(self) -> Shape:
        """The shape in ONNX's order of axes."""
        factors = self.factors
        return tuple(prod(factors[each] for each in self.factors_of(axis)) for axis in range(self.rank))

    @property
    def batch_axis(self) -> int:
        """The ONNX axis that the batch is in."""
        return next(axis for axis in range(self.rank) if self.order[0] in self.factors_of(axis))

    def axis(self, number: int) -> int:
        """The place of ONNX axis ``number`` (negative from the end) in a sample. Raises Unsupported for the batch."""
        axis = number % self.rank
        if axis == self.batch_axis:
            raise Unsupported(f"it works along the batch, axis {axis} of {self.shape}")
        return self.order.index(self.starts[axis]) - 1

    def permuted(self, axes: Sequence[int]) -> Tensor:
        """The same numbers with ONNX's axes in another order: nothing moves."""
        factors = [factor for axis in axes for factor in self.factors_of(axis)]
        order = tuple(factors.index(factor) for factor in self.order)
        return replace(self, order=order, groups=groups_of(self.counts[axis] for axis in axes))

    def without(self, axes: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Order and groups without some of ONNX's axes. Raises Unsupported if the batch is among them."""
        gone = set(axes)
        if self.batch_axis in gone:
            raise Unsupported(f"it removes the batch, axis {self.batch_axis} of {self.shape}")
        kept = [factor for axis in range(self.rank) if axis not in gone for factor in self.factors_of(axis)]
        order = tuple(kept.index(factor) for factor in self.order if factor in kept)
        return order, groups_of(count for axis, count in enumerate(self.counts) if axis not in gone)

    def squeezed(self, axes: Iterable[int]) -> tuple[Shape, tuple[int, ...], tuple[int, ...]]:
        """Stored shape, order and groups without some axes of length 1."""
        gone = set(axes)
        order, groups = self.without(gone)
        factors = {factor for axis in gone for factor in self.factors_of(axis)}
        stored = tuple(n for factor, n in zip(self.order, self.stored, strict=True) if factor not in factors)
        return stored, order, groups

    def unsqueezed(self, axes: Iterable[int]) -> tuple[Shape, tuple[int, ...], tuple[int, ...]]:
        """Stored shape, order and groups with axes of length 1 more, at ``axes`` of the result."""
        new = set(axes)
        rest = iter(self.counts)
        counts = [1 if axis in new else next(rest) for axis in range(self.rank + len(new))]
        starts = [0, *accumulate(counts)]
        added = sorted(starts[axis] for axis in new)
        old = [factor for factor in range(starts[-1]) if factor not in added]
        batch, *others = (old[factor] for factor in self.order)
        ones = (1,) * len(added)
        return (self.stored[0], *ones, *self.stored[1:]), (batch, *added, *others), groups_of(counts)


def groups_of(counts: Iterable[int]) -> tuple[int, ...]:
    """Counts of factors, empty where each is 1."""
    found = tuple(counts)
    return () if all(count == 1 for count in found) else found


@dataclass(frozen=True)
class Weight:
    """What training learns: an initialiser of ``shape``, or a part of one (not ``whole``).

    ``axes``: for each axis of the array the initialiser's, None for one of length 1 that the initialiser does not have.
    """

    name: str
    axes: tuple[int | None, ...]
    shape: Shape
    whole: bool = True

    @property
    def long_axes(self) -> tuple[int, ...]:
        """The initialiser's axes in their order here, those of length 1 left out."""
        return tuple(axis for axis in self.axes if axis is not None and self.shape[axis] != 1)

    @property
    def permutation(self) -> tuple[int, ...]:
        """All of the initialiser's axes in their order here, those of length 1 in front."""
        long = self.long_axes
        return (*(axis for axis in range(len(self.shape)) if axis not in long), *long)


@dataclass(frozen=True, eq=False)
class Fixed:
    """An array known beforehand.

    ``weight``: it is an initialiser, but for the order of its axes. ``narrow``: the array that this one repeats.
    ``table``: the array of which this one is the first rows.
    """

    array: NDArray[Any]
    weight: Weight | None = None
    narrow: Fixed | None = None
    table: Fixed | None = None

    def transposed(self, axes: tuple[int, ...]) -> Fixed:
        """With axes in another order."""
        weight = None
        if self.weight is not None:
            weight = replace(self.weight, axes=tuple(self.weight.axes[axis] for axis in axes))
        return Fixed(np.asarray(self.array.transpose(axes), order="C"), weight)

    def reshaped(self, shape: Shape) -> Fixed:
        """Under another shape; it stays what is learned where only axes of length 1 come or go."""
        array = self.array.reshape(shape)
        weight = None
        long = [length for length in self.array.shape if length != 1]
        if self.weight is not None and long == [length for length in array.shape if length != 1]:
            rest = iter(self.weight.long_axes)
            weight = replace(self.weight, axes=tuple(None if n == 1 else next(rest) for n in array.shape))
        return Fixed(array, weight)


Value: TypeAlias = Tensor | Fixed


@dataclass(frozen=True)
class Operator:
    """One node: its type, its own name for messages, attributes as plain values, and the names around it."""

    type: str
    name: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
