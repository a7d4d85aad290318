"""Average pooling, channels last, for sequences (B, T, C) and images (B, H, W, C), one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.pool_axis import Paddings, PoolAxis, Sizes, along, cachefuls, pool_axes

Array = NDArray[np.floating]

CHUNK_BYTES = 1 << 20
"""Bytes of pixels summed at a time: a host's cache holds the sums of their rows."""


def average_pool_forward(
    x: Array,
    kernel: Sequence[int],
    stride: Sizes,
    *,
    padding: Paddings = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Array:
    """The mean under each window: (B, H, W, C) to (B, Ro, Co, C); zeros lie around the image.

    A sum is divided by the window's pixels, those of the padding included or not, or by ``divisor`` if there is one
    (torch.nn.AvgPool2d). Raises ValueError for windows that do not go with the pixels.
    """
    pools = pool_axes(x.shape, kernel, stride, padding, ceil_mode=ceil_mode)
    y: Array = np.empty_like(x, shape=(len(x), *(pool.count for pool in pools), x.shape[-1]))
    factors = _factors(pools, x.dtype, count_include_pad, divisor)
    for part in cachefuls(x, CHUNK_BYTES):
        sums = x[part]
        for axis, pool in enumerate(pools, start=1):
            sums = _sums(sums, axis, pool)
        np.multiply(sums, factors, out=y[part])
    return y


def average_pool_backward(
    grad: Array,
    input_shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sizes,
    *,
    padding: Paddings = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Array:
    """Gradient by images of ``input_shape`` from the gradient by their means."""
    pools = pool_axes(input_shape, kernel, stride, padding, ceil_mode=ceil_mode)
    grad = grad * _factors(pools, grad.dtype, count_include_pad, divisor)
    for axis in range(len(pools), 0, -1):
        grad = _spread(grad, axis, pools[axis - 1])
    return grad


def global_average_forward(x: Array, *, keepdims: bool = False) -> Array:
    """The mean of each channel: (B, H, W, C) to (B, C), or (B, 1, 1, C) with ``keepdims``."""
    y: Array = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=keepdims)
    return y


def global_average_backward(grad: Array, input_shape: Sequence[int]) -> Array:
    """Gradient by images of ``input_shape`` from that by their means (B, C) or (B, 1, 1, C); memory order kept."""
    pixels = tuple(input_shape[1:-1])
    spread = grad.reshape(input_shape[0], *(1 for _ in pixels), input_shape[-1])
    count = int(np.prod(pixels))
    return np.broadcast_to(spread / grad.dtype.type(count), tuple(input_shape)).copy(order="K")


def _factors(
    pools: Sequence[PoolAxis], dtype: np.dtype[np.floating], padded: bool, divisor: int | None
) -> Array | np.floating:
    """What each window's sum is multiplied by, for (windows..., 1)."""
    if divisor is not None:
        return dtype.type(1 / divisor)
    sizes = np.ones(1)
    for pool in pools:
        sizes = sizes[..., None] * pool.sizes(padded=padded)
    factors: Array = (1 / sizes[0]).astype(dtype)[..., None]
    return factors if factors.min() < factors.max() else factors.reshape(-1)[0]


def _sums(x: Array, axis: int, pool: PoolAxis) -> Array:
    """The sums along an axis."""
    y: Array = np.empty_like(x, shape=(*x.shape[:axis], pool.count, *x.shape[axis + 1 :]))
    taps = [tuple(along(axis, each) for each in tap) for tap in pool.taps]
    # a tap that is on a pixel in every window begins
    whole = next((number for number, tap in enumerate(pool.taps) if tap[0] == slice(0, pool.count)), None)
    if whole is None:
        y.fill(0)
    else:
        y[...] = x[taps.pop(whole)[1]]
    for windows, pixels in taps:
        y[windows] += x[pixels]
    return y


def _spread(grad: Array, axis: int, pool: PoolAxis) -> Array:
    """The adjoint of :func:`_sums`."""
    out: Array = np.empty_like(grad, shape=(*grad.shape[:axis], pool.length, *grad.shape[axis + 1 :]))
    out.fill(0)
    for windows, pixels in pool.taps:
        if pool.stride >= pool.kernel:
            out[along(axis, pixels)] = grad[along(axis, windows)]
        else:
            out[along(axis, pixels)] += grad[along(axis, windows)]
    return out
