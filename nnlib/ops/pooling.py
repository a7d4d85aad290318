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
    grad_across = _to_first(across, grad, ROWS, kernel[0], stride)
    return _to_first(x, grad_across, COLUMNS, kernel[1], stride)


def _maxima(x: Array, axis: int, size: int, stride: int) -> Array:
    """The largest of each ``size`` numbers along an axis."""
    first, *others = _taps(x, axis, size, stride)
    if not others:
        return first.copy()
    y = np.maximum(first, others[0])
    for view in others[1:]:
        np.maximum(y, view, out=y)
    return y


def _to_first(x: Array, grad: Array, axis: int, size: int, stride: int) -> Array:
    """Each number of ``grad`` goes to the first of the ``size`` numbers of ``x`` that is their maximum."""
    top = _maxima(x, axis, size, stride)
    out = np.zeros_like(x)
    left = grad
    places = zip(_taps(x, axis, size, stride), _taps(out, axis, size, stride), strict=True)
    for number, (view, target) in enumerate(places):
        if number == size - 1:
            taken = left
        else:
            taken = left * (view == top)
            left = left - taken
        if stride >= size:
            target[...] = taken
        else:
            target += taken
    return out


def _taps(x: Array, axis: int, size: int, stride: int) -> Iterator[Array]:
    """For each place of a window along an axis the pixels under it, as a view."""
    count = (x.shape[axis] - size) // stride + 1
    for first in range(size):
        places = slice(first, first + (count - 1) * stride + 1, stride)
        yield x[:, places] if axis == ROWS else x[:, :, places]
