"""Convolution of small images of a large batch: in memory they lie as (H, W, C, B).

Whatever goes over pixels, here and in the layers behind, runs along whole batches, and the matrices are small enough
for a core's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from nnlib.ops.patches import Array, add_patches, seen
from nnlib.ops.reach import Reach

CHUNK_BYTES: Final = 1 << 21
"""Bytes of patches built at a time: what stays in a host's cache until it is multiplied."""
KEPT_BYTES: Final = 1 << 23
"""Patches of a batch up to this size are kept for the weight gradient; larger ones are built a second time."""


def batch_last(x: Array) -> Array:
    """Images (B, H, W, C) as contiguous (H, W, C, B); no copy if they lie so already."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def batch_first(x: Array) -> Array:
    """(H, W, C, B) seen as images (B, H, W, C)."""
    return x.transpose(3, 0, 1, 2)


def kept(x: Array, rows: Reach, columns: Reach) -> Array | None:
    """All patches (Ro, Co, kh·kw·C, B) if they are few enough to be kept from forward to backward, else None."""
    windows = _windows(x, rows, columns)
    return None if windows.nbytes > KEPT_BYTES else windows.reshape(*windows.shape[:2], -1, len(x))


def convolve(x: Array, weight: Array, bias: Array | None, rows: Reach, columns: Reach, patches: Array | None) -> Array:
    """``y`` (B, Ro, Co, No)."""
    out_channels = weight.shape[-1]
    matrix = np.ascontiguousarray(weight.reshape(-1, out_channels).T)
    y = np.empty((rows.outputs, columns.outputs, out_channels, len(x)), dtype=x.dtype)
    for part, found in _patches(x, weight.shape, rows, columns, patches):
        np.matmul(matrix, found, out=y[part])
    if bias is not None:
        y += bias[:, None]
    return batch_first(y)


def input_gradient(grad: Array, weight: Array, rows: Reach, columns: Reach) -> Array:
    """Gradient by ``x``."""
    matrix = weight.reshape(-1, weight.shape[-1])
    batch = len(grad)
    images = np.zeros((rows.inputs, columns.inputs, weight.shape[2], batch), dtype=grad.dtype)
    planes = batch_last(grad)
    for part in _chunks(rows.outputs, columns.outputs * batch * len(matrix) * grad.itemsize):
        patches = (matrix @ planes[part]).reshape(-1, columns.outputs, *weight.shape[:3], batch)
        first = part.start * rows.stride - rows.before, -columns.before
        add_patches(
            batch_first(images),
            patches.transpose(5, 0, 1, 2, 3, 4),
            (rows.stride, columns.stride),
            first,
            (rows.dilation, columns.dilation),
        )
    return batch_first(images)


def weight_gradient(grad: Array, x: Array, rows: Reach, columns: Reach, patches: Array | None) -> Array:
    """Gradient by the weights (kh, kw, Ni, No)."""
    shape = (rows.taps, columns.taps, x.shape[-1], grad.shape[-1])
    planes = batch_last(grad)
    total = np.zeros(shape, dtype=x.dtype).reshape(-1, shape[-1])
    for part, found in _patches(x, shape, rows, columns, patches):
        total += (found @ planes[part].transpose(0, 1, 3, 2)).sum(axis=(0, 1))
    return total.reshape(shape)


def _windows(x: Array, rows: Reach, columns: Reach) -> Array:
    """A view (Ro, Co, kh, kw, C, B) of the images: what each output pixel sees."""
    (row_inputs, row_places), (column_inputs, column_places) = rows.met, columns.met
    padded = np.zeros((rows.span, columns.span, x.shape[3], len(x)), dtype=x.dtype)
    padded[row_places, column_places] = x[:, row_inputs, column_inputs].transpose(1, 2, 3, 0)
    return seen(batch_first(padded), rows, columns).transpose(1, 2, 3, 4, 5, 0)


def _patches(
    x: Array, weight: tuple[int, ...], rows: Reach, columns: Reach, known: Array | None
) -> Iterator[tuple[slice, Array]]:
    """Output rows and their patches (rows, Co, kh·kw·C, B) under weights of shape ``weight``, a cacheful at a time."""
    windows = _windows(x, rows, columns) if known is None else known
    height, width = windows.shape[:2]
    depth = weight[0] * weight[1] * weight[2]
    # the product with a gradient is a matrix of the weights' shape for each pixel
    for part in _chunks(height, width * depth * max(len(x), weight[3]) * x.itemsize):
        yield part, windows[part].reshape(-1, width, depth, len(x))


def _chunks(rows: int, row_bytes: int) -> list[slice]:
    """Slices of output rows whose patches fit the cache."""
    size = max(1, CHUNK_BYTES // max(row_bytes, 1))
    return [slice(first, first + size) for first in range(0, rows, size)]
