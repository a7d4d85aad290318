"""A matrix of blocks dealt out to a grid of processes in both directions in turn (block-cyclic)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

RankOrder: TypeAlias = Literal["column_major", "row_major"]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ProcessGrid:
    """``rows`` × ``columns`` processes; ``order``: which neighbours in the grid have consecutive ranks."""

    rows: int
    columns: int
    order: RankOrder

    @property
    def processes(self) -> int:
        return self.rows * self.columns

    def ranks(self, row: Counts, column: Counts) -> Counts:
        """Rank of each process."""
        if self.order == "column_major":
            return np.asarray(column) * self.rows + row
        return np.asarray(row) * self.columns + column

    def within_columns(self, source: Counts, destination: Counts) -> tuple[Counts, Counts]:
        """Ranks of messages between process rows ``source[i]`` and ``destination[i]``, in every process column."""
        every = np.arange(self.columns)[:, None]
        return self.ranks(source, every).ravel(), self.ranks(destination, every).ravel()

    def within_rows(self, source: Counts, destination: Counts) -> tuple[Counts, Counts]:
        """Ranks of messages between process columns ``source[i]`` and ``destination[i]``, in every process row."""
        every = np.arange(self.rows)[:, None]
        return self.ranks(every, source).ravel(), self.ranks(every, destination).ravel()


def blocks_from(first: Counts | int, *, blocks: int, place: Counts | int, places: int) -> Counts:
    """How many of the blocks ``first`` to ``blocks`` - 1 process ``place`` of ``places`` holds."""
    before, inside = np.asarray(first) - 1 - np.asarray(place), blocks - 1 - np.asarray(place)
    return np.asarray(inside // places - before // places)


def near_square(processes: int) -> tuple[int, int]:
    """Rows and columns of the grid of so many processes that is nearest to a square, rows being fewer."""
    rows = next(rows for rows in range(isqrt(processes), 0, -1) if processes % rows == 0)
    return rows, processes // rows
