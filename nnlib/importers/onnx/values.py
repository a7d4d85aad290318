"""What the names of an ONNX graph stand for while it is being imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.layers.layer import Shape


class Unsupported(Exception):
    """An operator, or a use of it, that the library has no layers for; the text says which."""


@dataclass(frozen=True)
class Tensor:
    """The output of a layer, or an input. ``order``: the ONNX axis at each place; the batch is at the first.

    ``stored`` is the shape as it lies, batch included.
    """

    name: str
    order: tuple[int, ...]
    stored: Shape

    @property
    def rank(self) -> int:
        return len(self.order)

    @property
    def batch_axis(self) -> int:
        """Which of the ONNX axes is the batch."""
        return self.order[0]

    @property
    def shape(self) -> Shape:
        """The shape in ONNX's order of axes."""
        found = [0] * self.rank
        for axis, length in zip(self.order, self.stored, strict=True):
            found[axis] = length
        return tuple(found)

    def axis(self, number: int) -> int:
        """The place of ONNX axis ``number`` (negative from the end) in a sample. Raises Unsupported for the batch."""
        place = self.order.index(number % self.rank) - 1
        if place < 0:
            raise Unsupported("it works along the batch")
        return place


@dataclass(frozen=True)
class Weight:
    """A float initialiser with its axes in another order, or a part of one (not ``whole``): what training learns."""

    name: str
    axes: tuple[int, ...]
    whole: bool = True


@dataclass(frozen=True, eq=False)
class Fixed:
    """An array known beforehand. ``weight``: it is an initialiser, but for the order of its axes."""

    array: NDArray[Any]
    weight: Weight | None = None

    def transposed(self, axes: tuple[int, ...]) -> Fixed:
        """With axes in another order."""
        weight = None
        if self.weight is not None:
            weight = replace(self.weight, axes=tuple(self.weight.axes[axis] for axis in axes))
        return Fixed(np.asarray(self.array.transpose(axes), order="C"), weight)


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
