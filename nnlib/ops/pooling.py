"""Max pooling, channels last; on ties the first maximum of a window, row by row, wins.

A window's maximum is the maximum of its rows' maxima, so the axes of the pixels, one for sequences (B, T, C) and two
for images (B, H, W, C), go one after the other. Padding is never the maximum: taps outside the image are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.pool_axis import Paddings, PoolAxis, Sizes, along, cachefuls, pool_axes

Array = NDArray[np.floating]
Kernel = tuple[int, int]

CHUNK_BYTES = 1 << 20
"""Bytes of pixels whose gradient is found at a time: a host's cache holds what is left to give out."""


def max_pool_forward(
    x: Array,
    kernel: Sequence[int],
    stride: Sizes,
    *,
    padding: Paddings = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest number under each window: (B, H, W, C) to (B, Ro, Co, C).

    Raises ValueError for windows that do not go with the pixels (:class:`nnlib.ops.pool_axis.PoolAxis`).
    """
    # rows first: their numbers lie behind each other in memory
    for axis, pool in enumerate(pool_axes(x.shape, kernel, stride, padding, dilation, ceil_mode=ceil_mode), start=1):
        x = _maxima(x, axis, pool)
    return x


def max_pool_backward(
    x: Array,
    grad: Array,
    kernel: Sequence[int],
    stride: Sizes,
    *,
    padding: Paddings = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """Each number of ``grad`` (B, Ro, Co, C) goes to the first largest pixel of its window of ``x``."""
    pools = pool_axes(x.shape, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    out = np.zeros_like(x)
    for part in cachefuls(x, CHUNK_BYTES):
        _backward(x[part], grad[part], out[part], pools)
    return out


def global_max_forward(x: Array, *, keepdims: bool = False) -> Array:
    """The largest number of each channel: (B, H, W, C) to (B, C), or (B, 1, 1, C) with ``keepdims``."""
    y: Array = x.max(axis=tuple(range(1, x.ndim - 1)), keepdims=keepdims)
    return y


def global_max_backward(x: Array, grad: Array) -> Array:
    """Each number of ``grad`` (B, C) or (B, 1, 1, C) goes to the first largest pixel of its channel."""
    pixels = x.shape[1:-1]
    return max_pool_backward(x, grad.reshape(len(x), *(1 for _ in pixels), x.shape[-1]), pixels, 1)


def _maxima(x: Array, axis: int, pool: PoolAxis) -> Array:
    """The largest numbers along an axis."""
    # a tap that is on a pixel in every window begins
    whole = next((tap for tap in pool.taps if tap[0] == slice(0, pool.count)), None)
    shape = (*x.shape[:axis], pool.count, *x.shape[axis + 1 :])
    y: Array = np.empty_like(x, shape=shape)
    if whole is None:
        y.fill(-np.inf)
    elif pool.kernel == 1:
        y[...] = x[along(axis, whole[1])]
        return y
    first = whole
    for tap in pool.taps:
        if tap is whole:
            continue
        windows, pixels = (along(axis, each) for each in tap)
        if first is not None and tap[0] == first[0]:
            np.maximum(x[along(axis, first[1])], x[pixels], out=y)
            first = None
            continue
        if first is not None:
            y[...] = x[along(axis, first[1])]
            first = None
        np.maximum(y[windows], x[pixels], out=y[windows])
    return y


def _backward(x: Array, grad: Array, out: Array, pools: Sequence[PoolAxis]) -> None:
    """Add each number of ``grad`` to ``out`` where the first largest pixel of its window is."""
    maxima = [x]
    for axis in range(len(pools), 0, -1):
        maxima.append(_maxima(maxima[-1], axis, pools[axis - 1]))
    top = maxima.pop()
    for axis, pool in enumerate(pools, start=1):
        below = maxima.pop()
        target = np.zeros_like(below) if maxima else out
        _to_first(below, top, grad, target, axis, pool)
        grad, top = target, below


def _to_first(x: Array, top: Array, grad: Array, out: Array, axis: int, pool: PoolAxis) -> None:
    """Add each number of ``grad`` to ``out`` at the first of a window's numbers of ``x`` that is their ``top``."""
    if pool.kernel == 1:
        windows, pixels = (along(axis, each) for each in pool.taps[0])
        out[pixels] = grad[windows]
        return
    left = grad.copy(order="K")
    equal, taken = np.empty_like(grad, dtype=bool), np.empty_like(grad)
    apart = pool.stride >= pool.reach
    *places, last = (tuple(along(axis, each) for each in tap) for tap in pool.taps)
    for windows, pixels in places if pool.inside else (*places, last):
        found = out[pixels] if apart else taken[windows]
        np.equal(x[pixels], top[windows], out=equal[windows])
        np.multiply(left[windows], equal[windows], out=found)
        left[windows] -= found
        if not apart:
            out[pixels] += found
    if pool.inside:
        out[last[1]] += left
