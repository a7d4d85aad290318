"""Arrays (..., C) in any memory order as matrices in which a channel's numbers lie along columns or along rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.blocks import row_blocks

Array = NDArray[np.floating]
Sums = NDArray[np.float64]

SUMMED: Final = 512
"""Numbers in a row that make a pass of sums over it cheap beside its beginning."""
WIDE: Final = 1 << 14
"""The same of a pass that writes: NumPy repeats a row of numbers quickly from about half of this on."""
SHORT: Final = 128
"""Fewer numbers of a channel behind each other than this are columns of their own."""
MOST: Final = 1 << 16
"""Longer rows of numbers for the columns are not repeated for the channels' numbers where these are many."""


@dataclass(frozen=True)
class ChannelMatrix:
    """How an array of shape (..., C), ``order`` its axes from the outermost to the innermost in memory, is a matrix.

    In memory ``outer`` × ``channels`` × ``inner``. ``by_rows``: each row is ``inner`` numbers of one channel; else a
    row has ``folded`` times all channels.
    """

    order: tuple[int, ...]
    outer: int
    channels: int
    inner: int
    by_rows: bool
    folded: int

    @classmethod
    def of(cls, x: Array, *, wide: bool = False) -> ChannelMatrix:
        """The one of ``x`` (..., C), or of a row-major copy where its numbers do not lie behind each other.

        ``wide``: for passes that write; else for passes that sum.
        """
        order = tuple(sorted(range(x.ndim), key=lambda axis: (-x.strides[axis] if x.shape[axis] > 1 else 0, axis)))
        if not x.transpose(order).flags.c_contiguous:
            order = tuple(range(x.ndim))
        shape = [x.shape[axis] for axis in order]
        place = order.index(x.ndim - 1)
        outer, channels, inner = prod(shape[:place]), shape[place], prod(shape[place + 1 :])
        by_rows = inner >= SHORT and (channels * inner > MOST if wide else True)
        folded = 1 if by_rows else divisor(outer, (WIDE if wide else SUMMED) // max(channels * inner, 1))
        return cls(order, outer, channels, inner, by_rows, folded)

    @property
    def count(self) -> int:
        """Numbers of each channel."""
        return self.outer * self.inner

    def empty(self, x: Array) -> Array:
        """A new array of the shape, dtype and memory order of ``x``."""
        shape = [x.shape[axis] for axis in self.order]
        return np.empty(shape, dtype=x.dtype).transpose(np.argsort(self.order))

    def matrix(self, x: Array) -> Array:
        """``x`` as a matrix; a copy where it lies in another memory order."""
        ordered = np.ascontiguousarray(x.transpose(self.order))
        if self.by_rows:
            return ordered.reshape(self.outer * self.channels, self.inner)
        return ordered.reshape(-1, self.folded * self.channels * self.inner)

    def blocks(self, matrix: Array) -> list[slice]:
        """Rows of the matrix that fit the cache."""
        return row_blocks(len(matrix), matrix.shape[1] * matrix.itemsize)

    def spread(self, values: NDArray[np.floating], dtype: np.dtype[np.floating]) -> Array:
        """A number per channel (C,) where the matrix has the channel: (rows, 1) or (1, columns)."""
        values = values.astype(dtype)
        if self.by_rows:
            return np.tile(values, self.outer)[:, None]
        return np.tile(np.repeat(values, self.inner), self.folded)[None]

    def part(self, spread: Array, block: slice) -> Array:
        """What of :meth:`spread` belongs to a block of rows."""
        return spread[block] if self.by_rows else spread

    def summed_blocks(self, matrix: Array) -> list[slice]:
        """The same for sums: along columns so many rows that the sums over them are few."""
        return row_blocks(len(matrix), matrix.shape[1] * matrix.itemsize, least=1 if self.by_rows else 8)

    def partial(self, matrix: Array, blocks: list[slice]) -> Sums:
        """Room for a sum of each block: (rows,) or (blocks, columns)."""
        return np.empty(len(matrix) if self.by_rows else (len(blocks), matrix.shape[1]), dtype=np.float64)

    def place(self, number: int, block: slice) -> int | slice:
        """Where a block's sums belong in :meth:`partial`."""
        return block if self.by_rows else number

    def sums(self, block: Array) -> Array:
        """Sums over the numbers of a block that have the same place in :meth:`spread`."""
        if self.by_rows:
            found: Array = block.sum(axis=1)
            return found
        return np.ones(len(block), dtype=block.dtype) @ block

    def products(self, a: Array, b: Array) -> Array:
        """The same sums of ``a · b``."""
        found: Array = np.einsum("rc,rc->r" if self.by_rows else "rc,rc->c", a, b)
        return found

    def per_channel(self, partial: Sums) -> Sums:
        """The sum of each channel's partial sums (C,)."""
        found: Sums
        if self.by_rows:
            found = partial.reshape(self.outer, self.channels).sum(axis=0)
        else:
            found = partial.sum(axis=0).reshape(self.folded, self.channels, self.inner).sum(axis=(0, 2))
        return found


def divisor(number: int, most: int) -> int:
    """The largest divisor of ``number`` that is not larger than ``most``, or 1."""
    return next((each for each in range(min(most, number), 1, -1) if number % each == 0), 1)
