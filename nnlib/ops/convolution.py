"""Two-dimensional convolution, channels last: images (B, H, W, C), weights (kh, kw, Ni, No).

A convolution is a matrix product of the weights with the patches under each output pixel (explicit GEMM). In memory
all images that come from here lie as (C, H, W, B): patches are copied, added and pooled in runs of a whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Kernel = tuple[int, int]

CHUNK_BYTES = 1 << 20
"""Bytes of patches built at a time: about a core's second-level cache."""
KEPT_BYTES = 1 << 23
"""Patches of a batch up to this size are kept for the weight gradient; larger ones are built a second time."""


def output_size(length: int, kernel: int, stride: int, padding: int) -> int:
    """Output pixels along an axis."""
    return (length + 2 * padding - kernel) // stride + 1


def batch_last(x: Array) -> Array:
    """Images (B, H, W, C) as contiguous (C, H, W, B); no copy if they lie so already."""
    return np.ascontiguousarray(_swapped(x))


def im2col(x: Array, kernel: Kernel, stride: int, padding: int) -> Array:
    """The patch under each output pixel: (B, H, W, C) to (B, Ro, Co, kh·kw·C)."""
    windows = _windows(_pad(_swapped(x), padding), kernel, stride)
    return _swapped(windows.reshape(-1, *windows.shape[3:]))


def col2im(patches: Array, shape: tuple[int, int, int, int], kernel: Kernel, stride: int, padding: int) -> Array:
    """The adjoint of :func:`im2col`: add the patches back onto the pixels of images of ``shape``."""
    batch, height, width, channels = shape
    padded = np.zeros((channels, height + 2 * padding, width + 2 * padding, batch), dtype=patches.dtype)
    _add_patches(padded, _swapped(patches).reshape(*kernel, channels, *patches.shape[1:3], batch), stride)
    return _swapped(padded[:, padding : padding + height, padding : padding + width])


def kept_patches(x: Array, kernel: Kernel, *, stride: int, padding: int) -> Array | None:
    """The patches of a batch if they are few enough to be kept from forward to backward, else None."""
    pixels = output_size(x.shape[1], kernel[0], stride, padding) * output_size(x.shape[2], kernel[1], stride, padding)
    if len(x) * pixels * kernel[0] * kernel[1] * x.shape[3] * x.itemsize > KEPT_BYTES:
        return None
    return im2col(x, kernel, stride, padding)


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, *, stride: int, padding: int, patches: Array | None = None
) -> Array:
    """``y`` (B, Ro, Co, No) of images ``x`` under ``weight`` (kh, kw, Ni, No); ``patches`` of ``x`` if known."""
    kh, kw, _, out_channels = weight.shape
    rows = output_size(x.shape[1], kh, stride, padding)
    columns = output_size(x.shape[2], kw, stride, padding)
    matrix = weight.reshape(-1, out_channels).T
    y = np.empty((out_channels, rows, columns, len(x)), dtype=x.dtype)
    for part, found in _patches(x, (kh, kw), stride, padding, patches):
        np.matmul(matrix, found, out=y[:, part].reshape(out_channels, -1))
    if bias is not None:
        y += bias[:, None, None, None]
    return _swapped(y)


def conv2d_input_gradient(
    grad: Array, weight: Array, input_shape: tuple[int, int, int, int], *, stride: int, padding: int
) -> Array:
    """Gradient by ``x`` of shape ``input_shape`` from the gradient by ``y``."""
    kh, kw, channels, out_channels = weight.shape
    matrix = weight.reshape(-1, out_channels)
    batch, height, width, _ = input_shape
    padded = np.zeros((channels, height + 2 * padding, width + 2 * padding, batch), dtype=grad.dtype)
    rows, columns = grad.shape[1:3]
    planes = batch_last(grad)
    for part in _chunks(rows, columns * batch * len(matrix) * grad.itemsize):
        patches = matrix @ planes[:, part].reshape(out_channels, -1)
        _add_patches(padded[:, part.start * stride :], patches.reshape(kh, kw, channels, -1, columns, batch), stride)
    return _swapped(padded[:, padding : padding + height, padding : padding + width])


def conv2d_weight_gradient(
    grad: Array, x: Array, kernel: Kernel, *, stride: int, padding: int, patches: Array | None = None
) -> Array:
    """Gradient by the weights (kh, kw, Ni, No) from the gradient by ``y`` and the images; ``patches`` if known."""
    out_channels = grad.shape[-1]
    planes = batch_last(grad)
    total = np.zeros((kernel[0] * kernel[1] * x.shape[-1], out_channels), dtype=x.dtype)
    for part, found in _patches(x, kernel, stride, padding, patches):
        total += found @ planes[:, part].reshape(out_channels, -1).T
    return total.reshape(*kernel, x.shape[-1], out_channels)


def channel_sums(grad: Array) -> Array:
    """Sum over all but the last of four axes: the gradient by a bias."""
    planes = batch_last(grad).reshape(grad.shape[-1], -1)
    return planes @ np.ones(planes.shape[1], dtype=grad.dtype)


def _swapped(x: Array) -> Array:
    """(B, H, W, C) seen as (C, H, W, B), and back."""
    return x.transpose(3, 1, 2, 0)


def _pad(planes: Array, padding: int) -> Array:
    """(C, H, W, B) in a frame of zeros."""
    channels, height, width, batch = planes.shape
    padded = np.zeros((channels, height + 2 * padding, width + 2 * padding, batch), dtype=planes.dtype)
    padded[:, padding : padding + height, padding : padding + width] = planes
    return padded


def _windows(padded: Array, kernel: Kernel, stride: int) -> Array:
    """A view (kh, kw, C, Ro, Co, B) of (C, H, W, B): what each tap of the kernel sees."""
    channels, height, width, batch = padded.shape
    c, h, w, b = padded.strides
    rows, columns = (height - kernel[0]) // stride + 1, (width - kernel[1]) // stride + 1
    shape, strides = (*kernel, channels, rows, columns, batch), (h, w, c, h * stride, w * stride, b)
    return np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)


def _add_patches(padded: Array, patches: Array, stride: int) -> None:
    """Add patches (kh, kw, C, Ro, Co, B) onto the pixels of (C, H, W, B) that each tap sees."""
    kh, kw, _, rows, columns, _ = patches.shape
    for i in range(kh):
        for j in range(kw):
            seen = padded[:, i : i + rows * stride : stride, j : j + columns * stride : stride][:, :rows, :columns]
            seen += patches[i, j]


def _patches(x: Array, kernel: Kernel, stride: int, padding: int, known: Array | None) -> Iterator[tuple[slice, Array]]:
    """Output rows and their patches (kh·kw·C, pixels): all at once if known, else as many as fit the cache."""
    depth = kernel[0] * kernel[1] * x.shape[-1]
    if known is not None:
        yield slice(None), _swapped(known).reshape(depth, -1)
        return
    windows = _windows(_pad(_swapped(x), padding), kernel, stride)
    rows, columns, batch = windows.shape[3:]
    for part in _chunks(rows, columns * batch * depth * x.itemsize):
        yield part, windows[:, :, :, part].reshape(depth, -1)


def _chunks(rows: int, row_bytes: int) -> list[slice]:
    """Slices of output rows whose patches fit the cache."""
    size = max(1, CHUNK_BYTES // max(row_bytes, 1))
    return [slice(first, first + size) for first in range(0, rows, size)]
