"""Two-dimensional convolution, channels last: images (B, H, W, C), weights (kh, kw, Ni, No).

A convolution is a matrix product of the weights with the patch under each output pixel of all samples (explicit GEMM).
In memory its results lie as (H, W, C, B): whatever goes over pixels, here and in the layers behind, runs along whole
batches, and the matrices are small enough for a core's cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Kernel = tuple[int, int]

CHUNK_BYTES = 1 << 21
"""Bytes of patches built at a time: what stays in a host's cache until it is multiplied."""
KEPT_BYTES = 1 << 23
"""Patches of a batch up to this size are kept for the weight gradient; larger ones are built a second time."""


def output_size(length: int, kernel: int, stride: int, padding: int) -> int:
    """Output pixels along an axis."""
    return (length + 2 * padding - kernel) // stride + 1


def batch_last(x: Array) -> Array:
    """Images (B, H, W, C) as contiguous (H, W, C, B); no copy if they lie so already."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def batch_first(x: Array) -> Array:
    """(H, W, C, B) seen as images (B, H, W, C)."""
    return x.transpose(3, 0, 1, 2)


def im2col(x: Array, kernel: Kernel, stride: int, padding: int, dilation: int = 1) -> Array:
    """The patch under each output pixel: (B, H, W, C) to (B, Ro, Co, kh·kw·C)."""
    batch, height, width, channels = x.shape
    padded = np.zeros((batch, height + 2 * padding, width + 2 * padding, channels), dtype=x.dtype)
    padded[:, padding : padding + height, padding : padding + width] = x
    patches = patches_seen(padded, kernel, stride, dilation)
    return patches.reshape(*patches.shape[:3], -1)


def patches_seen(x: Array, kernel: Kernel, stride: int, dilation: int = 1) -> Array:
    """The patches of images (B, H, W, C) without padding as a view (B, Ro, Co, kh, kw, C).

    ``dilation``: pixels from one tap of a patch to the next.
    """
    batch, height, width, channels = x.shape
    b, h, w, c = x.strides
    rows, columns = (
        output_size(length, dilation * (taps - 1) + 1, stride, 0)
        for length, taps in zip((height, width), kernel, strict=True)
    )
    shape = (batch, rows, columns, *kernel, channels)
    strides = (b, h * stride, w * stride, h * dilation, w * dilation, c)
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def col2im(
    patches: Array,
    shape: tuple[int, int, int, int],
    kernel: Kernel,
    stride: int,
    padding: int | tuple[int, int],
    dilation: int = 1,
) -> Array:
    """The adjoint of :func:`im2col`: add the patches back onto the pixels of images of ``shape``.

    ``padding``: how far above and left of the images the first patch begins; what lies outside is dropped.
    """
    images = np.zeros(shape, dtype=patches.dtype)
    above, left = (padding, padding) if isinstance(padding, int) else padding
    _add_patches(images, patches.reshape(*patches.shape[:3], *kernel, shape[3]), stride, (-above, -left), dilation)
    return images


def kept_patches(x: Array, kernel: Kernel, *, stride: int, padding: int) -> Array | None:
    """All patches (Ro, Co, kh·kw·C, B) if they are few enough to be kept from forward to backward, else None."""
    windows = _windows(x, kernel, stride, padding)
    return None if windows.nbytes > KEPT_BYTES else windows.reshape(*windows.shape[:2], -1, len(x))


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, *, stride: int, padding: int, patches: Array | None = None
) -> Array:
    """``y`` (B, Ro, Co, No) of images ``x`` under ``weight`` (kh, kw, Ni, No); ``patches`` of ``x`` if known."""
    kh, kw, _, out_channels = weight.shape
    rows = output_size(x.shape[1], kh, stride, padding)
    columns = output_size(x.shape[2], kw, stride, padding)
    matrix = np.ascontiguousarray(weight.reshape(-1, out_channels).T)
    y = np.empty((rows, columns, out_channels, len(x)), dtype=x.dtype)
    for part, found in _patches(x, weight.shape, stride, padding, patches):
        np.matmul(matrix, found, out=y[part])
    if bias is not None:
        y += bias[:, None]
    return batch_first(y)


def conv2d_input_gradient(
    grad: Array, weight: Array, input_shape: tuple[int, int, int, int], *, stride: int, padding: int
) -> Array:
    """Gradient by ``x`` of shape ``input_shape`` from the gradient by ``y``."""
    matrix = weight.reshape(-1, weight.shape[-1])
    batch, rows, columns, _ = grad.shape
    images = np.zeros((*input_shape[1:], batch), dtype=grad.dtype)
    planes = batch_last(grad)
    for part in _chunks(rows, columns * batch * len(matrix) * grad.itemsize):
        patches = (matrix @ planes[part]).reshape(-1, columns, *weight.shape[:3], batch)
        first = part.start * stride - padding, -padding
        _add_patches(batch_first(images), patches.transpose(5, 0, 1, 2, 3, 4), stride, first)
    return batch_first(images)


def conv2d_weight_gradient(
    grad: Array, x: Array, kernel: Kernel, *, stride: int, padding: int, patches: Array | None = None
) -> Array:
    """Gradient by the weights (kh, kw, Ni, No) from the gradient by ``y`` and the images; ``patches`` if known."""
    shape = (*kernel, x.shape[-1], grad.shape[-1])
    planes = batch_last(grad)
    total = np.zeros(shape, dtype=x.dtype).reshape(-1, shape[-1])
    for part, found in _patches(x, shape, stride, padding, patches):
        total += (found @ planes[part].transpose(0, 1, 3, 2)).sum(axis=(0, 1))
    return total.reshape(shape)


def channel_sums(grad: Array) -> Array:
    """Sum over all but the last of four axes: the gradient by a bias."""
    planes = batch_last(grad)
    # the long sums first, along whole batches of all channels
    sums: Array = planes.reshape(-1, *planes.shape[2:]).sum(axis=0).sum(axis=1)
    return sums


def _windows(x: Array, kernel: Kernel, stride: int, padding: int) -> Array:
    """A view (Ro, Co, kh, kw, C, B) of the padded images (B, H, W, C): what each output pixel sees."""
    batch, height, width, channels = x.shape
    padded = np.zeros((height + 2 * padding, width + 2 * padding, channels, batch), dtype=x.dtype)
    padded[padding : padding + height, padding : padding + width] = x.transpose(1, 2, 3, 0)
    return patches_seen(batch_first(padded), kernel, stride).transpose(1, 2, 3, 4, 5, 0)


def _add_patches(images: Array, patches: Array, stride: int, first: tuple[int, int], dilation: int = 1) -> None:
    """Add patches (B, Ro, Co, kh, kw, C) onto (B, H, W, C); the first patch begins at row and column ``first``."""
    rows, columns, kh, kw = patches.shape[1:5]
    for i in range(kh):
        row_patches, row_pixels = _met(first[0] + i * dilation, stride, rows, images.shape[1])
        for j in range(kw):
            column_patches, column_pixels = _met(first[1] + j * dilation, stride, columns, images.shape[2])
            seen = images[:, row_pixels, column_pixels]
            seen += patches[:, row_patches, column_patches, i, j]


def _met(first: int, stride: int, count: int, length: int) -> tuple[slice, slice]:
    """Of ``count`` places ``first``, ``first + stride``, ... those in ``range(length)``: their numbers, and they."""
    begin = max(0, -(first // stride))
    end = max(begin, min(count, (length - 1 - first) // stride + 1))
    place = first + begin * stride
    return slice(begin, end), slice(place, place + (end - begin) * stride, stride) if end > begin else slice(0, 0)


def _patches(
    x: Array, weight: tuple[int, ...], stride: int, padding: int, known: Array | None
) -> Iterator[tuple[slice, Array]]:
    """Output rows and their patches (rows, Co, kh·kw·C, B) under weights of shape ``weight``, a cacheful at a time."""
    windows = _windows(x, (weight[0], weight[1]), stride, padding) if known is None else known
    rows, columns = windows.shape[:2]
    depth = weight[0] * weight[1] * weight[2]
    # the product with a gradient is a matrix of the weights' shape for each pixel
    for part in _chunks(rows, columns * depth * max(len(x), weight[3]) * x.itemsize):
        yield part, windows[part].reshape(-1, columns, depth, len(x))


def _chunks(rows: int, row_bytes: int) -> list[slice]:
    """Slices of output rows whose patches fit the cache."""
    size = max(1, CHUNK_BYTES // max(row_bytes, 1))
    return [slice(first, first + size) for first in range(0, rows, size)]
