"""What a kernel does along one axis of images, as a hashable description that gives the linear map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nnlib.ops.arrangement import PadMode, pad_map
from nnlib.ops.axis_map import AxisMap, adaptive_map, average_map, bins, chosen
from nnlib.ops.pool_axis import PoolAxis
from nnlib.ops.resize import Mode, axis_map


class AxisRule(Protocol):
    """A frozen, hashable description of a linear map along an axis."""

    def map(self) -> AxisMap:
        """The map from the axis to its outputs."""


@dataclass(frozen=True)
class Same:
    """The axis as it is."""

    length: int

    def map(self) -> AxisMap:
        return chosen(self.length, np.arange(self.length))


@dataclass(frozen=True)
class Averaged:
    """Means of windows; ``padded``: over pixels of the padding too. ``divisor``: sums divided by it instead."""

    pool: PoolAxis
    padded: bool = True
    divisor: int | None = None

    def map(self) -> AxisMap:
        return average_map(self.pool, padded=self.padded, divisor=self.divisor)


@dataclass(frozen=True)
class Binned:
    """Means of ``size`` bins that cover the axis."""

    length: int
    size: int

    def map(self) -> AxisMap:
        return adaptive_map(self.length, self.size)


@dataclass(frozen=True)
class BinPixels:
    """The pixels of ``size`` bins, bin by bin; shorter bins repeat their last one."""

    length: int
    size: int

    @property
    def width(self) -> int:
        """Pixels of the widest bin."""
        first, end = bins(self.length, self.size)
        return int((end - first).max())

    def map(self) -> AxisMap:
        first, end = bins(self.length, self.size)
        places = np.minimum(first[:, None] + np.arange(self.width), end[:, None] - 1)
        return chosen(self.length, places.reshape(-1))


@dataclass(frozen=True)
class Chosen:
    """The pixels at ``places``."""

    length: int
    places: tuple[int, ...]

    def map(self) -> AxisMap:
        return chosen(self.length, np.array(self.places))


@dataclass(frozen=True)
class Resized:
    """``size`` pixels, each the nearest one or between two."""

    length: int
    size: int
    mode: Mode = "nearest"
    align_corners: bool = False

    def map(self) -> AxisMap:
        return axis_map(self.length, self.size, mode=self.mode, align_corners=self.align_corners)


@dataclass(frozen=True)
class Bordered:
    """Pixels before and after, mirrored or equal to the outermost."""

    length: int
    before: int
    after: int
    mode: PadMode

    def map(self) -> AxisMap:
        return pad_map(self.length, self.before, self.after, mode=self.mode)


@dataclass(frozen=True)
class Stepped:
    """``count`` pixels from ``start`` on, ``step`` apart, which may be negative."""

    length: int
    start: int
    step: int
    count: int

    def map(self) -> AxisMap:
        return chosen(self.length, self.start + self.step * np.arange(self.count))
