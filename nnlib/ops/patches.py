"""The patch under each output pixel of images (B, H, W, C), and its way back: im2col and col2im."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.reach import Kernel, Padding, Pair, Reach, pair, reaches, sides

Array = NDArray[np.floating]


def im2col(x: Array, kernel: Kernel, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1) -> Array:
    """The patch under each output pixel: (B, H, W, C) to (B, Ro, Co, kh·kw·C)."""
    rows, columns = reaches((x.shape[1], x.shape[2]), kernel, stride=stride, padding=padding, dilation=dilation)
    patches = seen(spread(x, rows, columns), rows, columns)
    return patches.reshape(*patches.shape[:3], -1)


def spread(x: Array, rows: Reach, columns: Reach, empty: Callable[..., Array] = np.empty) -> Array:
    """The pixels that the outputs' spans have, with the zeros outside: a view where there are none.

    ``empty(shape, dtype=...)`` finds memory for them.
    """
    (row_inputs, row_places), (column_inputs, column_places) = rows.met, columns.met
    inside = x[:, row_inputs, column_inputs]
    if rows.inside and columns.inside:
        return inside
    padded = empty((len(x), rows.span, columns.span, x.shape[3]), dtype=x.dtype)
    padded[...] = 0
    padded[:, row_places, column_places] = inside
    return padded


def seen(x: Array, rows: Reach, columns: Reach) -> Array:
    """The patches of what :func:`spread` gave, as a view (B, Ro, Co, kh, kw, C)."""
    b, h, w, c = x.strides
    shape = (len(x), rows.outputs, columns.outputs, rows.taps, columns.taps, x.shape[3])
    strides = (b, h * rows.stride, w * columns.stride, h * rows.dilation, w * columns.dilation, c)
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def patches_seen(x: Array, kernel: Kernel, stride: Pair, dilation: Pair = 1) -> Array:
    """The patches of images (B, H, W, C) without padding as a view (B, Ro, Co, kh, kw, C).

    ``dilation``: pixels from one tap of a patch to the next.
    """
    rows, columns = reaches((x.shape[1], x.shape[2]), kernel, stride=stride, padding=0, dilation=dilation)
    return seen(x, rows, columns)


def col2im(
    patches: Array,
    shape: tuple[int, int, int, int],
    kernel: Kernel,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Array:
    """The adjoint of :func:`im2col`: add the patches back onto the pixels of images of ``shape``.

    The first patch begins as far above and left of the images as the padding says; what lies outside is dropped.
    """
    images = np.zeros(shape, dtype=patches.dtype)
    above, left = (before for before, _ in sides(padding))
    add_patches(
        images, patches.reshape(*patches.shape[:3], *kernel, shape[3]), pair(stride), (-above, -left), pair(dilation)
    )
    return images


def add_patches(
    images: Array, patches: Array, stride: tuple[int, int], first: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> None:
    """Add patches (B, Ro, Co, kh, kw, C) onto (B, H, W, C); the first patch begins at row and column ``first``."""
    rows, columns, kh, kw = patches.shape[1:5]
    for i in range(kh):
        row_patches, row_pixels = _met(first[0] + i * dilation[0], stride[0], rows, images.shape[1])
        for j in range(kw):
            column_patches, column_pixels = _met(first[1] + j * dilation[1], stride[1], columns, images.shape[2])
            pixels = images[:, row_pixels, column_pixels]
            pixels += patches[:, row_patches, column_patches, i, j]


def _met(first: int, stride: int, count: int, length: int) -> tuple[slice, slice]:
    """Of ``count`` places ``first``, ``first + stride``, ... those in ``range(length)``: their numbers, and they."""
    begin = max(0, -(first // stride))
    end = max(begin, min(count, (length - 1 - first) // stride + 1))
    place = first + begin * stride
    return slice(begin, end), slice(place, place + (end - begin) * stride, stride) if end > begin else slice(0, 0)
