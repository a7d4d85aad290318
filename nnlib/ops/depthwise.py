"""Depthwise convolution: every channel by itself, images (B, H, W, C) under weights (kh, kw, 1, C).

There is no matrix product in it. Pixels are sorted by their remainder by the stride, so that for each tap what all
outputs of a row meet lies behind each other in memory, and is multiplied by a row of that tap's weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np

from nnlib.ops.patches import Array, spread
from nnlib.ops.reach import Reach
from nnlib.ops.threads import share

CHUNK_ELEMENTS: Final = 1 << 16
"""Output numbers computed at a time: they stay in the caches for all taps, and are worth the calls."""
SMALL_PRODUCTS: Final = 1 << 20
"""A convolution of fewer multiplications is done before other threads have woken up."""
PIXEL_PARTS: Final = 4
"""Into so many parts of the batch weight gradients are divided, however many threads there are."""


def suits(weight: Array, groups: int) -> bool:
    """Whether each output channel sees one input channel, and that alone sees it."""
    return weight.shape[2:] == (1, groups)


def convolve(x: Array, weight: Array, bias: Array | None, rows: Reach, columns: Reach, *, out: Array) -> None:
    """Write the convolution to ``out`` (B, Ro, Co, C)."""
    channels = x.shape[3]
    width = columns.outputs * channels
    lines = np.tile(weight.reshape(-1, 1, channels), (1, columns.outputs, 1)).reshape(-1, width)
    offset = None if bias is None else np.tile(bias, columns.outputs)

    def work(drawn: Iterator[tuple[int, slice]]) -> None:
        for image, part in drawn:
            some = rows.part(part)
            target = np.empty((some.outputs, width), dtype=x.dtype)
            partial = np.empty_like(target)
            for number, pixels in enumerate(_met(x[image], some, columns)):
                np.multiply(pixels, lines[number], out=partial if number else target)
                if number:
                    target += partial
            if offset is not None:
                target += offset
            out[image, part] = target.reshape(some.outputs, columns.outputs, channels)

    share(_chunks(range(len(x)), rows, width), work, alone=out.size * len(lines) < SMALL_PRODUCTS)


def input_gradient(grad: Array, weight: Array, rows: Reach, columns: Reach) -> Array:
    """Gradient by ``x`` (B, H, W, C)."""
    shape = (len(grad), rows.inputs, columns.inputs, grad.shape[3])
    row_phases, column_phases = list(rows.phases()), list(columns.phases())
    met = len(row_phases) * len(column_phases)
    # a stride may pass over inputs
    gradient = (np.empty if met == rows.remainders * columns.remainders else np.zeros)(shape, dtype=grad.dtype)
    for of_rows, of_columns in product(row_phases, column_phases):
        target = gradient[:, of_rows.inputs, of_columns.inputs]
        taps = weight[of_rows.taps, of_columns.taps]
        convolve(grad, taps, None, of_rows.reach, of_columns.reach, out=target)
    return gradient


def weight_gradient(grad: Array, x: Array, rows: Reach, columns: Reach) -> Array:
    """Gradient by the weights (kh, kw, 1, C); the sums over rows are in double precision."""
    channels = x.shape[3]
    width = columns.outputs * channels
    parts = [range(first, len(x), PIXEL_PARTS) for first in range(min(len(x), PIXEL_PARTS))]
    sums = np.zeros((len(parts), rows.taps * columns.taps, width), dtype=np.float64)

    def work(drawn: Iterator[int]) -> None:
        for number in drawn:
            for image, part in _chunks(parts[number], rows, width):
                some = rows.part(part)
                ahead = grad[image, part].reshape(some.outputs, width)
                partial = np.empty_like(ahead)
                for tap, pixels in enumerate(_met(x[image], some, columns)):
                    np.multiply(pixels, ahead, out=partial)
                    sums[number, tap] += partial.sum(axis=0)

    share(range(len(parts)), work, alone=grad.size * rows.taps * columns.taps < SMALL_PRODUCTS)
    shape = rows.taps, columns.taps, columns.outputs, channels
    total: Array = sums.sum(axis=0).reshape(shape).sum(axis=2, keepdims=True).astype(x.dtype)
    return total


def _met(image: Array, rows: Reach, columns: Reach) -> Iterator[Array]:
    """For each tap what the outputs meet, (Ro, Co·C), of an image (H, W, C)."""
    padded = spread(image[None], rows, columns)[0]
    channels = image.shape[2]
    phases: dict[tuple[int, int], Array] = {}
    for i, j in product(range(rows.taps), range(columns.taps)):
        down, below = divmod(i * rows.dilation, rows.stride)
        right, behind = divmod(j * columns.dilation, columns.stride)
        if (below, behind) not in phases:
            pixels = padded[below :: rows.stride, behind :: columns.stride]
            phases[below, behind] = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
        yield phases[below, behind][down : down + rows.outputs, right * channels : (right + columns.outputs) * channels]


def _chunks(images: range, rows: Reach, width: int) -> list[tuple[int, slice]]:
    """Image by image, some rows at a time."""
    height = max(1, CHUNK_ELEMENTS // width)
    return [
        (image, slice(first, min(first + height, rows.outputs)))
        for image in images
        for first in range(0, rows.outputs, height)
    ]
