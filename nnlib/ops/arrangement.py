"""Operations that move numbers and compute none: concatenation, slices, padding, transposition, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.axis_map import AxisMap, edge_map, mirrored_map

Array = NDArray[np.floating]
Padding: TypeAlias = Sequence[tuple[int, int]]
"""Numbers before and after each axis; negative ones are cut away."""
PadMode: TypeAlias = Literal["constant", "reflect", "edge"]


def concatenate_forward(arrays: Sequence[Array], axis: int = -1) -> Array:
    """The arrays one behind the other along ``axis``, channels by default."""
    return np.concatenate(arrays, axis=axis)


def concatenate_backward(grad: Array, sizes: Sequence[int], axis: int = -1) -> list[Array]:
    """Each array's part of ``grad``, as a view, from how long they are along ``axis``."""
    return np.split(grad, np.cumsum(sizes)[:-1], axis=axis)


def slice_forward(x: Array, places: Sequence[slice]) -> Array:
    """``x`` at ``places`` of its first axes, steps of any sign: a copy in the memory order of ``x``."""
    return x[tuple(places)].copy(order="K")


def slice_backward(grad: Array, input_shape: Sequence[int], places: Sequence[slice]) -> Array:
    """Gradient by an array of ``input_shape``: zero where nothing was taken."""
    out: Array = np.empty_like(grad, shape=tuple(input_shape))
    out.fill(0)
    out[tuple(places)] = grad
    return out


def pad_forward(x: Array, padding: Padding, *, mode: PadMode = "constant", value: float = 0.0) -> Array:
    """``x`` with numbers before and after each axis: ``value``, the array mirrored at its ends, or its outermost.

    Raises ValueError if more would be mirrored than there are.
    """
    if mode == "constant":
        shape = tuple(before + length + after for length, (before, after) in zip(x.shape, padding, strict=True))
        y: Array = np.empty_like(x, shape=shape)
        y.fill(value)
        inside, outside = _kept(x.shape, padding)
        y[outside] = x[inside]
        return y
    for axis, (before, after) in enumerate(padding):
        if before or after:
            x = pad_map(x.shape[axis], before, after, mode=mode).apply(x, axis)
    return x


def pad_backward(grad: Array, input_shape: Sequence[int], padding: Padding, *, mode: PadMode = "constant") -> Array:
    """Gradient by the array of ``input_shape`` from the gradient by the padded one."""
    if mode == "constant":
        out: Array = np.empty_like(grad, shape=tuple(input_shape))
        out.fill(0)
        inside, outside = _kept(input_shape, padding)
        out[inside] = grad[outside]
        return out
    for axis, (before, after) in enumerate(padding):
        if before or after:
            grad = pad_map(input_shape[axis], before, after, mode=mode).transposed.apply(grad, axis)
    return grad


def pad_map(length: int, before: int, after: int, *, mode: PadMode) -> AxisMap:
    """Where the numbers of a padded axis come from; not for ``constant``, nor for negative paddings."""
    if mode == "constant" or min(before, after) < 0:
        raise ValueError(f"{before} and {after} pixels of padding {mode} do not come from the axis")
    return mirrored_map(length, before, after) if mode == "reflect" else edge_map(length, before, after)


def transpose_forward(x: Array, axes: Sequence[int]) -> Array:
    """``x`` with its axes in another order, as a view."""
    return x.transpose(axes)


def transpose_backward(grad: Array, axes: Sequence[int]) -> Array:
    """The axes back in their order, as a view."""
    return grad.transpose(np.argsort(axes))


def _kept(shape: Sequence[int], padding: Padding) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Of an array of ``shape`` what is left where paddings cut, and where it lies in the padded array."""
    inside, outside = [], []
    for length, (before, after) in zip(shape, padding, strict=True):
        first, end = max(-before, 0), length + min(after, 0)
        inside.append(slice(first, max(end, first)))
        outside.append(slice(max(before, 0), max(before, 0) + max(end - first, 0)))
    return tuple(inside), tuple(outside)
