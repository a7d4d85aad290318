"""Max pooling, channels last; on ties the first maximum of a window, row by row, wins.

A window's maximum is the maximum of its rows' maxima, so both directions go along one axis after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Kernel = tuple[int, int]

ROWS, COLUMNS = 1, 2
"""Axes of images (B, H, W, C)."""


def max_pool_forward(x: Array, kernel: Kernel, stride: int) -> Array:
    """The largest number under each window: (B, H, W, C) to (B, Ro, Co, C)."""
    # rows first: their numbers lie behind each other in memory
    return _maxima(_maxima(x, ROWS, kernel[0], stride), COLUMNS, kernel[1], stride)


def max_pool_backward(x: Array, grad: Array, kernel: Kernel, stride: int) -> Array:
    """Each number of ``grad`` (B, Ro, Co, C) goes to the first largest pixel of its window of ``x``."""
    across = _maxima(x, COLUMNS, kernel[1], stride)
    grad_across = _to_first(across, _maxima(across, ROWS, kernel[0], stride), grad, ROWS, kernel[0], stride)
    return _to_first(x, across, grad_across, COLUMNS, kernel[1], stride)


def _maxima(x: Array, axis: int, size: int, stride: int) -> Array:
    """The largest of each ``size`` numbers along an axis."""
    first, *others = _taps(x, axis, size, stride)
    if not others:
        return first.copy(order="K")
    y = np.maximum(first, others[0])
    for view in others[1:]:
        np.maximum(y, view, out=y)
    return y


def _to_first(x: Array, top: Array, grad: Array, axis: int, size: int, stride: int) -> Array:
    """Each number of ``grad`` goes to the first of the ``size`` numbers of ``x`` that is their maximum ``top``."""
    out = np.zeros_like(x)
    left = grad
    *places, (_, last) = zip(_taps(x, axis, size, stride), _taps(out, axis, size, stride), strict=True)
    if stride >= size:
        for view, target in places:
            np.multiply(left, view == top, out=target)
            left = left - target
        last[...] = left
        return out
    for view, target in places:
        taken = left * (view == top)
        left = left - taken
        target += taken
    last += left
    return out


def _taps(x: Array, axis: int, size: int, stride: int) -> Iterator[Array]:
    """For each place of a window along an axis the pixels under it, as a view."""
    count = (x.shape[axis] - size) // stride + 1
    for first in range(size):
        places = slice(first, first + (count - 1) * stride + 1, stride)
        yield x[:, places] if axis == ROWS else x[:, :, places]
