"""Max pooling, channels last; on ties the first maximum of a window, row by row, wins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Kernel = tuple[int, int]


def max_pool_forward(x: Array, kernel: Kernel, stride: int) -> Array:
    """The largest number under each window: (B, H, W, C) to (B, Ro, Co, C)."""
    views = list(_taps(x, kernel, stride))
    y = views[0].copy()
    for view in views[1:]:
        np.maximum(y, view, out=y)
    return y


def max_pool_backward(x: Array, grad: Array, kernel: Kernel, stride: int) -> Array:
    """Each number of ``grad`` (B, Ro, Co, C) goes to the first largest pixel of its window of ``x``."""
    y = max_pool_forward(x, kernel, stride)
    out = np.zeros_like(x)
    free = np.ones(y.shape, dtype=bool)
    for view, target in zip(_taps(x, kernel, stride), _taps(out, kernel, stride), strict=True):
        hit = view == y
        hit &= free
        free ^= hit
        target += grad * hit
    return out


def _taps(x: Array, kernel: Kernel, stride: int) -> Iterator[Array]:
    """For each place of the window the pixels under it, as a view (B, Ro, Co, C)."""
    rows = (x.shape[1] - kernel[0]) // stride + 1
    columns = (x.shape[2] - kernel[1]) // stride + 1
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
