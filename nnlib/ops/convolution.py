"""Two-dimensional convolution, channels last: images (B, H, W, C), weights (kh, kw, Ni, No).

A convolution is a matrix product of the patches under each output pixel with the weights (explicit GEMM). Patches are
built for as many samples at a time as stay in a core's cache.
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


def im2col(x: Array, kernel: Kernel, stride: int, padding: int) -> Array:
    """The patch under each output pixel: (B, H, W, C) to (B, Ro, Co, kh·kw·C)."""
    (kh, kw), (batch, _, _, channels) = kernel, x.shape
    padded = _pad(x, padding)
    rows = (padded.shape[1] - kh) // stride + 1
    columns = (padded.shape[2] - kw) // stride + 1
    patches = np.empty((batch, rows, columns, kh, kw * channels), dtype=x.dtype)
    _fill_patches(padded, patches, kernel, stride)
    return patches.reshape(batch, rows, columns, kh * kw * channels)


def col2im(patches: Array, shape: tuple[int, int, int, int], kernel: Kernel, stride: int, padding: int) -> Array:
    """The adjoint of :func:`im2col`: add the patches back onto the pixels of images of ``shape``."""
    (kh, kw), (batch, height, width, channels) = kernel, shape
    rows, columns = patches.shape[1:3]
    taps = patches.reshape(batch, rows, columns, kh, kw, channels)
    padded = np.zeros((batch, height + 2 * padding, width + 2 * padding, channels), dtype=patches.dtype)
    for i in range(kh):
        for j in range(kw):
            padded[:, i : i + rows * stride : stride, j : j + columns * stride : stride][:, :rows, :columns] += taps[
                :, :, :, i, j
            ]
    return padded[:, padding : padding + height, padding : padding + width]


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
    matrix = weight.reshape(-1, out_channels)
    y = np.empty((len(x), rows, columns, out_channels), dtype=x.dtype)
    for part, found in _patches(x, (kh, kw), stride, padding, patches):
        np.matmul(found, matrix, out=y[part].reshape(-1, out_channels))
    if bias is not None:
        # in runs of whole images: NumPy adds a short vector to many rows five times slower
        y.reshape(len(x), -1)[...] += np.tile(bias, rows * columns)
    return y


def conv2d_input_gradient(
    grad: Array, weight: Array, input_shape: tuple[int, int, int, int], *, stride: int, padding: int
) -> Array:
    """Gradient by ``x`` of shape ``input_shape`` from the gradient by ``y``."""
    kh, kw, _, out_channels = weight.shape
    if stride == 1 and padding <= min(kh, kw) - 1 and kh == kw:
        # correlation with the flipped weights: the same sum as col2im without scattering
        flipped = np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))
        return conv2d_forward(grad, flipped, None, stride=1, padding=kh - 1 - padding)
    matrix = weight.reshape(-1, out_channels).T
    out = np.empty(input_shape, dtype=grad.dtype)
    rows, columns = grad.shape[1:3]
    for part in _chunks(len(grad), rows * columns * matrix.shape[1] * grad.itemsize):
        patches = grad[part].reshape(-1, out_channels) @ matrix
        shape = (len(grad[part]), *input_shape[1:])
        out[part] = col2im(patches.reshape(shape[0], rows, columns, -1), shape, (kh, kw), stride, padding)
    return out


def conv2d_weight_gradient(
    grad: Array, x: Array, kernel: Kernel, *, stride: int, padding: int, patches: Array | None = None
) -> Array:
    """Gradient by the weights (kh, kw, Ni, No) from the gradient by ``y`` and the images; ``patches`` if known."""
    out_channels = grad.shape[-1]
    total = np.zeros((kernel[0] * kernel[1] * x.shape[-1], out_channels), dtype=x.dtype)
    for part, found in _patches(x, kernel, stride, padding, patches):
        total += found.T @ grad[part].reshape(-1, out_channels)
    return total.reshape(*kernel, x.shape[-1], out_channels)


def channel_sums(grad: Array) -> Array:
    """Sum over all but the last axis: the gradient by a bias."""
    flat = grad.reshape(-1, grad.shape[-1])
    # a product with ones runs at the speed of BLAS, a sum over short rows does not
    return np.ones(len(flat), dtype=grad.dtype) @ flat


def _pad(x: Array, padding: int) -> Array:
    if padding == 0:
        return x
    batch, height, width, channels = x.shape
    padded = np.zeros((batch, height + 2 * padding, width + 2 * padding, channels), dtype=x.dtype)
    padded[:, padding : padding + height, padding : padding + width] = x
    return padded


def _fill_patches(padded: Array, patches: Array, kernel: Kernel, stride: int) -> None:
    """Copy runs of kw·C consecutive numbers: a row of a patch is one run."""
    batch, rows, columns, kh, run = patches.shape
    b, h, w, c = padded.strides
    source = np.lib.stride_tricks.as_strided(
        padded, (batch, rows, columns, kh, run), (b, h * stride, w * stride, h, c), writeable=False
    )
    patches[...] = source


def _patches(x: Array, kernel: Kernel, stride: int, padding: int, known: Array | None) -> Iterator[tuple[slice, Array]]:
    """Samples and their patches (pixels, kh·kw·C): all at once if known, else as many as fit the cache."""
    depth = kernel[0] * kernel[1] * x.shape[-1]
    if known is not None:
        yield slice(None), known.reshape(-1, depth)
        return
    pixels = output_size(x.shape[1], kernel[0], stride, padding) * output_size(x.shape[2], kernel[1], stride, padding)
    for part in _chunks(len(x), pixels * depth * x.itemsize):
        yield part, im2col(x[part], kernel, stride, padding).reshape(-1, depth)


def _chunks(samples: int, sample_bytes: int) -> list[slice]:
    """Slices of samples whose patches fit the cache."""
    size = max(1, CHUNK_BYTES // max(sample_bytes, 1))
    return [slice(first, first + size) for first in range(0, samples, size)]
