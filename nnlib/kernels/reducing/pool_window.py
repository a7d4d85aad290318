"""Windows of pooling over images, and which of them touch a block of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.kernels.window import Window
from nnlib.ops.pool_axis import PoolAxis
from sim.chip.dma import Integers
from sim.chip.memory import Array, Shape


@dataclass(frozen=True)
class PoolWindow:
    """Images (batch, height, width, channels) under windows along ``rows`` and ``columns``."""

    batch: int
    rows: PoolAxis
    columns: PoolAxis
    channels: int

    @classmethod
    def of(cls, window: Window) -> PoolWindow:
        """The same with one stride, padding and dilation for both axes."""
        (kh, kw), stride, padding, dilation = window.kernel, window.stride, window.padding, window.dilation
        return cls(
            batch=window.batch,
            rows=PoolAxis(window.height, kh, stride, padding, dilation),
            columns=PoolAxis(window.width, kw, stride, padding, dilation),
            channels=window.channels,
        )

    @property
    def axes(self) -> tuple[PoolAxis, PoolAxis]:
        return self.rows, self.columns

    @property
    def image(self) -> Shape:
        return self.batch, self.rows.length, self.columns.length, self.channels

    @property
    def pooled(self) -> Shape:
        return self.batch, self.rows.count, self.columns.count, self.channels

    @property
    def kernel(self) -> tuple[int, int]:
        return self.rows.kernel, self.columns.kernel

    @property
    def stride(self) -> tuple[int, int]:
        return self.rows.stride, self.columns.stride

    @property
    def dilation(self) -> tuple[int, int]:
        return self.rows.dilation, self.columns.dilation

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.rows.padding, self.rows.after), (self.columns.padding, self.columns.after)

    @property
    def taps(self) -> int:
        return self.rows.kernel * self.columns.kernel

    @property
    def inside(self) -> bool:
        """True if no window reaches beyond the image."""
        return self.rows.inside and self.columns.inside


@dataclass(frozen=True)
class Touching:
    """The windows that touch a block of pixels along an axis.

    ``windows`` of them from the one ``first`` after the block's number of strides on; under them lie ``pixels`` pixels,
    ``before`` of these in front of the block.
    """

    windows: int
    first: int
    pixels: int
    before: int


def touching(pool: PoolAxis, *, block: int) -> Touching:
    """The windows that touch ``block`` pixels, from a multiple of the stride on."""
    if block >= pool.length:
        pixels = (pool.count - 1) * pool.stride + pool.reach
        return Touching(windows=pool.count, first=0, pixels=pixels, before=pool.padding)
    first = -((pool.reach - 1 - pool.padding) // pool.stride)
    windows = max((block - 1 + pool.padding) // pool.stride - first + 1, 1)
    return Touching(
        windows=windows,
        first=first,
        pixels=(windows - 1) * pool.stride + pool.reach,
        before=pool.padding - first * pool.stride,
    )


def never_largest(x: Array, window: PoolWindow, row: Integers, column: Integers) -> Array:
    """Tiles (CPEs, rows, columns, channels) from ``row`` and ``column`` on; beyond the image the least number."""
    inside = _inside(row, x.shape[1], window.rows.length)[:, :, None]
    inside = inside & _inside(column, x.shape[2], window.columns.length)[:, None, :]
    least = np.iinfo(str(x.dtype)).min if x.dtype.kind == "i" else -np.inf
    return x if inside.all() else np.where(inside[..., None], x, x.dtype.type(least))


def _inside(first: Integers, size: int, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    place = first[:, None] + np.arange(size)
    return (place >= 0) & (place < length)
