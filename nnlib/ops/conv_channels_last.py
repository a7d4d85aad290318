"""Convolution of images that lie in memory as (B, H, W, C): matrix products with a cacheful of patches at a time.

Where each output meets one input the images are the patches. The gradient of the inputs is a convolution as well, for
each remainder of the pixels by the stride one with the taps that meet them, so that every pass writes each number once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Final

import numpy as np

from nnlib.ops.channel_groups import GroupedWeights
from nnlib.ops.patches import Array, seen, spread
from nnlib.ops.reach import Reach
from nnlib.ops.threads import share

CHUNK_BYTES: Final = 1 << 21
"""Bytes of patches built at a time: what stays in a host's cache until it is multiplied."""
CHUNK_PIXELS: Final = 384
"""Output pixels of a chunk at least: products of fewer rows spend their time on the weights."""
SMALL_FLOPS: Final = 1 << 24
"""A convolution of fewer operations is done before other threads have woken up."""
PIXEL_PARTS: Final = 4
"""Into so many parts the pixels are divided that weight gradients are summed over, however many threads there are."""
WEIGHT_BYTES: Final = 1 << 20
"""Larger weight gradients are divided themselves, not the pixels: their parts need not be added up."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of an image, or some images."""

    images: slice
    rows: slice


def convolve(
    x: Array, weight: Array, bias: Array | None, rows: Reach, columns: Reach, *, groups: int, out: Array
) -> None:
    """Write the convolution of ``x`` with weights (kh, kw, Ni of a group, No) to ``out`` (B, Ro, Co, No)."""
    grouped = GroupedWeights(weight.shape, groups)
    matrices = grouped.merge(weight)
    depth, channels = matrices.shape[1:]
    chunks = _chunks(len(x), rows, columns, depth * grouped.count * x.itemsize)

    def work(drawn: Iterator[Chunk]) -> None:
        scratch = _Scratch()
        for chunk in drawn:
            patches = _matrices(x, rows, columns, chunk, grouped.count, scratch)
            y = out[chunk.images, chunk.rows]
            target = y if y.flags.c_contiguous else np.empty(y.shape, dtype=out.dtype)
            products = target.reshape(-1, grouped.count, channels).transpose(1, 0, 2)
            np.matmul(patches, matrices, out=products)
            if bias is not None:
                target += bias
            if target is not y:
                y[...] = target

    share(chunks, work, alone=2 * out.size * depth < SMALL_FLOPS)


def input_gradient(grad: Array, weight: Array, rows: Reach, columns: Reach, *, groups: int) -> Array:
    """Gradient by ``x`` (B, H, W, Ni)."""
    swapped = GroupedWeights(weight.shape, groups).swap(weight)
    row_phases, column_phases = list(rows.phases()), list(columns.phases())
    shape = (len(grad), rows.inputs, columns.inputs, weight.shape[2] * groups)
    met = len(row_phases) * len(column_phases)
    # a stride may pass over inputs
    gradient = (np.empty if met == rows.remainders * columns.remainders else np.zeros)(shape, dtype=grad.dtype)
    for of_rows, of_columns in product(row_phases, column_phases):
        convolve(
            grad,
            swapped[of_rows.taps, of_columns.taps],
            None,
            of_rows.reach,
            of_columns.reach,
            groups=groups,
            out=gradient[:, of_rows.inputs, of_columns.inputs],
        )
    return gradient


@dataclass(frozen=True)
class _Share:
    """A part of a weight gradient: some chunks summed over, into ``place`` of the sums, for some taps and channels."""

    place: int
    chunks: tuple[Chunk, ...]
    taps: slice
    channels: slice


def weight_gradient(grad: Array, x: Array, rows: Reach, columns: Reach, *, groups: int) -> Array:
    """Gradient by the weights (kh, kw, Ni of a group, No)."""
    shape = (rows.taps, columns.taps, x.shape[3] // groups, grad.shape[3])
    grouped = GroupedWeights(shape, groups)
    grad = np.ascontiguousarray(grad)
    depth = prod(grouped.shape[1:4])
    chunks = _chunks(len(x), rows, columns, depth * grouped.count * x.itemsize)
    if prod(grouped.shape) * x.itemsize > WEIGHT_BYTES and grouped.count == 1:
        shares = _weight_shares(tuple(chunks), grouped)
    else:
        size = -(-len(chunks) // PIXEL_PARTS)
        shares = [
            _Share(place, tuple(chunks[first : first + size]), slice(0, rows.taps), slice(0, x.shape[3]))
            for place, first in enumerate(range(0, len(chunks), size))
        ]
    sums = np.zeros((1 + shares[-1].place, *grouped.shape), dtype=x.dtype)

    def work(drawn: Iterator[_Share]) -> None:
        scratch = _Scratch()
        for each in drawn:
            part = sums[each.place][:, each.taps, :, each.channels if grouped.count == 1 else slice(None)]
            _add_chunks(part, each, grad, x, rows, columns, scratch)

    share(shares, work, alone=2 * grad.size * depth < SMALL_FLOPS)
    total = sums[0] if len(sums) == 1 else sums.sum(axis=0)
    return grouped.part(total)


def _add_chunks(
    total: Array, each: _Share, grad: Array, x: Array, rows: Reach, columns: Reach, scratch: _Scratch
) -> None:
    """Add what a share's chunks give."""
    groups, channels = len(total), total.shape[-1]
    pixels = x[..., each.channels]
    some_rows = rows.of_taps(each.taps)
    for number, chunk in enumerate(each.chunks):
        patches = _matrices(pixels, some_rows, columns, chunk, groups, scratch).transpose(0, 2, 1)
        ahead = grad[chunk.images, chunk.rows].reshape(-1, groups, channels).transpose(1, 0, 2)
        product = np.matmul(patches, ahead, out=scratch.take("product", (groups, patches.shape[1], channels), x.dtype))
        if number == 0:
            total[...] = product.reshape(total.shape)
        else:
            total += product.reshape(total.shape)


def _weight_shares(chunks: tuple[Chunk, ...], grouped: GroupedWeights) -> list[_Share]:
    """By rows of taps and blocks of channels: an even number of about the same size."""
    taps, channels = grouped.shape[1], grouped.shape[3]
    blocks = 2 if taps > 1 else 8
    size = max(1, -(-channels // blocks))
    return [
        _Share(0, chunks, slice(tap, tap + 1), slice(first, min(first + size, channels)))
        for tap in range(taps)
        for first in range(0, channels, size)
    ]


def _matrices(x: Array, rows: Reach, columns: Reach, chunk: Chunk, groups: int, scratch: _Scratch) -> Array:
    """The patches of a chunk as a matrix for each group: (groups, pixels, taps·channels of a group)."""
    some = rows.part(chunk.rows)
    patches = seen(spread(x[chunk.images], some, columns, partial(scratch.take, "padded")), some, columns)
    *pixels, kh, kw, channels = patches.shape
    depth = kh * kw * channels // groups
    if groups == kh == kw == 1 and _is_matrix(patches):
        return patches.reshape(1, -1, channels)
    ordered = patches.reshape(*pixels, kh, kw, groups, -1).transpose(5, 0, 1, 2, 3, 4, 6)
    matrices = scratch.take("patches", (groups, prod(pixels), depth), x.dtype)
    matrices.reshape(ordered.shape)[...] = ordered
    return matrices


def _is_matrix(patches: Array) -> bool:
    """Whether patches of one tap lie in memory as a product takes a matrix, its rows equally far apart."""
    b, r, c, _, _, channel = patches.strides
    batch, rows, columns = patches.shape[:3]
    return (
        channel == patches.itemsize
        and (rows == 1 or r == c * columns)
        and (batch == 1 or b == (r if rows > 1 else c * columns) * rows)
    )


def _chunks(batch: int, rows: Reach, columns: Reach, pixel_bytes: int) -> list[Chunk]:
    """Chunks of about equal size in the order of memory."""
    pixels = max(CHUNK_PIXELS, CHUNK_BYTES // pixel_bytes)
    image = rows.outputs * columns.outputs
    if image >= pixels:
        height = max(1, pixels // columns.outputs)
        return [
            Chunk(slice(b, b + 1), slice(r, min(r + height, rows.outputs)))
            for b in range(batch)
            for r in range(0, rows.outputs, height)
        ]
    images = max(1, min(pixels // image, -(-batch // 2)))
    return [Chunk(slice(b, min(b + images, batch)), slice(0, rows.outputs)) for b in range(0, batch, images)]


class _Scratch:
    """Memory of one thread that is used again and again."""

    def __init__(self) -> None:
        self.kept: dict[str, Array] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> Array:
        """An array with anything in it; what was taken under the name before is lost."""
        size = prod(shape)
        kept = self.kept.get(name)
        if kept is None or kept.size < size:
            kept = self.kept[name] = np.empty(size, dtype=dtype)
        return kept[:size].reshape(shape)
