"""How the image-size-aware plan cuts rows and columns of pixels into blocks, and what of the source each one needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.implicit.image_order import OUTSIDE
from sim.chip.dma import Integers


@dataclass(frozen=True)
class TapColumns:
    """Where one tap's pixels lie in a block: every ``target_step``-th target from ``target`` on meets a source.

    Places are relative to the block's first target and first source column.
    """

    tap: int
    target: int
    target_step: int
    source: int
    source_step: int

    def count(self, columns: int) -> int:
        """Targets of this tap among a block's first ``columns``."""
        return max(0, -(-(columns - self.target) // self.target_step))

    def targets(self, columns: int) -> slice:
        return slice(self.target, columns, self.target_step)

    def sources(self, columns: int) -> slice:
        last = self.source + (self.count(columns) - 1) * self.source_step
        return slice(self.source, last + 1, self.source_step)


@dataclass(frozen=True)
class Columns:
    """Blocks of ``width`` target columns. ``width`` is a multiple of the taps' period, or there is one block."""

    taps: Taps
    width: int

    @property
    def blocks(self) -> int:
        return -(-self.taps.targets // self.width)

    def left(self, block: int) -> int:
        """Target columns that the block really has."""
        return min(self.width, self.taps.targets - block * self.width)

    def first_source(self, block: int) -> int:
        """The block's first source column; in the padding where negative."""
        return block * self.width // self.taps.period * self.taps.advance + self._span[0]

    @cached_property
    def steady(self) -> range:
        """The blocks which, like the next one, are whole and need no column outside the image."""
        return _but_last(
            self.left(block) == self.width and 0 <= self.first_source(block) <= self.taps.sources - self.source_width
            for block in range(self.blocks)
        )

    @property
    def source_width(self) -> int:
        """Source columns that a block needs."""
        low, high = self._span
        return high - low + 1

    @cached_property
    def of_taps(self) -> tuple[TapColumns, ...]:
        """Of every tap that has any target in a full block."""
        low = self._span[0]
        return tuple(
            TapColumns(tap, target, self.taps.period, source - low, self.taps.advance)
            for tap, target, source, _ in self._met()
        )

    @cached_property
    def _span(self) -> tuple[int, int]:
        """First and last source column of the block that begins at target 0."""
        met = self._met()
        return min((source for *_, source, _ in met), default=0), max((last for *_, last in met), default=0)

    def _met(self) -> list[tuple[int, int, int, int]]:
        """Per tap its number, its first target in the block, the source there and the last one's."""
        taps, found = self.taps, []
        for tap in range(taps.taps):
            shift = tap * taps.dilation - taps.padding
            target = shift % taps.period
            source = (target - shift) // taps.stride if taps.backward else shift
            more = (self.width - 1 - target) // taps.period
            if more >= 0:
                found.append((tap, target, source, source + more * taps.advance))
        return found


@dataclass(frozen=True)
class RowBlock:
    """Target rows that the mesh's rows take side by side, and the taps that bring a source row to any of them."""

    rows: tuple[int, ...]
    taps: tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """Blocks of ``side_by_side`` of the target rows ``share``, in ``classes`` of rows that the same taps meet."""

    taps: Taps
    share: range
    side_by_side: int

    @cached_property
    def classes(self) -> tuple[tuple[RowBlock, ...], ...]:
        period = self.taps.period
        found = []
        for residue in range(period):
            first = self.share.start + (residue - self.share.start) % period
            rows = range(first, self.share.stop, period)
            blocks = (rows[at : at + self.side_by_side] for at in range(0, len(rows), self.side_by_side))
            found.append(tuple(RowBlock(tuple(each), self._taps_of(each)) for each in blocks))
        return tuple(each for each in found if each)

    def _taps_of(self, rows: range) -> tuple[int, ...]:
        met = {tap for row in rows for tap, _ in self.taps.sources_of(row)}
        return tuple(sorted(met))

    def steady(self, blocks: tuple[RowBlock, ...]) -> range:
        """The blocks which, like the next one, are whole and lose no tap to the image's edge."""
        inside = self.taps.steady
        return _but_last(
            len(block.rows) == self.side_by_side and block.rows[0] in inside and block.rows[-1] in inside
            for block in blocks
        )

    def steady_of_tap(self, blocks: tuple[RowBlock, ...], tap: int) -> range:
        """The blocks which, like the next one, are whole and all of whose rows have a source under ``tap``."""
        return _but_last(
            len(block.rows) == self.side_by_side and bool(np.all(self.sources(block, tap) != OUTSIDE))
            for block in blocks
        )

    def targets(self, block: RowBlock) -> Integers:
        """The target row of each of the mesh's rows that take part, OUTSIDE beyond the last."""
        return np.array([*block.rows, *[OUTSIDE] * (self.side_by_side - len(block.rows))], dtype=np.int64)

    def sources(self, block: RowBlock, tap: int) -> Integers:
        """The source row that ``tap`` brings to each, OUTSIDE where there is none."""
        found = [self.taps.source(row, tap) for row in block.rows]
        rows = [OUTSIDE if row is None else row for row in found]
        return np.array([*rows, *[OUTSIDE] * (self.side_by_side - len(rows))], dtype=np.int64)


def _but_last(whole: Iterable[bool]) -> range:
    """The places from the first to before the last True; what lies between is True."""
    places = [place for place, each in enumerate(whole) if each]
    return range(places[0], places[-1]) if places else range(0)
