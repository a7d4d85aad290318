"""Pooling to a given number of outputs, channels last: means and maxima of bins that cover each axis of the pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.axis_map import adaptive_map, bins

Array = NDArray[np.floating]
Integers = NDArray[np.int64]


def adaptive_average_forward(x: Array, size: Sequence[int]) -> Array:
    """The mean of each bin: (B, H, W, C) to (B, *size, C)."""
    for axis, count in enumerate(size, start=1):
        x = adaptive_map(x.shape[axis], count).apply(x, axis)
    return x


def adaptive_average_backward(grad: Array, input_shape: Sequence[int]) -> Array:
    """Gradient by images of ``input_shape`` from the gradient by their means."""
    for axis in range(grad.ndim - 2, 0, -1):
        grad = adaptive_map(input_shape[axis], grad.shape[axis]).transposed.apply(grad, axis)
    return grad


def adaptive_max_forward(x: Array, size: Sequence[int]) -> Array:
    """The maximum of each bin: (B, H, W, C) to (B, *size, C)."""
    for axis, count in enumerate(size, start=1):
        x = _maxima(x, axis, count)
    return x


def adaptive_max_backward(x: Array, grad: Array) -> Array:
    """Each number of ``grad`` goes to the first largest pixel of its bin of ``x``, row by row."""
    maxima = [x]
    for axis in range(x.ndim - 2, 0, -1):
        maxima.append(_maxima(maxima[-1], axis, grad.shape[axis]))
    top = maxima.pop()
    for axis in range(1, x.ndim - 1):
        below = maxima.pop()
        grad = _to_first(below, top, grad, axis)
        top = below
    return grad


def _maxima(x: Array, axis: int, size: int) -> Array:
    """The largest of each bin along an axis."""
    taps = _taps(x.shape[axis], size)
    _, pixels = next(taps)
    y: Array = x[_at(axis, pixels)]
    for used, pixels in taps:
        place = _at(axis, used)
        y[place] = np.maximum(y[place], x[_at(axis, pixels)])
    return y


def _to_first(x: Array, top: Array, grad: Array, axis: int) -> Array:
    """Each number of ``grad`` goes to the first of its bin that is the maximum ``top``."""
    out = np.zeros_like(x)
    size = grad.shape[axis]
    left = grad.copy(order="K")
    for used, pixels in _taps(x.shape[axis], size):
        place, pixel = _at(axis, used), _at(axis, pixels)
        taken = left[place] * (x[pixel] == top[place])
        left[place] -= taken
        if size <= x.shape[axis]:
            out[pixel] += taken
        else:  # bins begin at the same pixels
            np.add.at(out, pixel, taken)  # type: ignore[arg-type]
    return out


def _taps(length: int, size: int) -> Iterator[tuple[Integers, Integers]]:
    """For each place in a bin the bins that are so long, and the pixel there."""
    first, end = bins(length, size)
    for tap in range(int((end - first).max())):
        used = np.flatnonzero(first + tap < end)
        yield used, first[used] + tap


def _at(axis: int, places: Integers) -> tuple[slice | Integers, ...]:
    """An index that takes ``places`` of an axis."""
    return (*(slice(None),) * axis, places)
