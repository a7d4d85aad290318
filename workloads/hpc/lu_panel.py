"""A panel factorised by the processes of one process column: recursive, partial pivoting, pivots by agreement.

The rows of the block on the diagonal are replicated: whoever's turn it is to give a pivot row tells everyone, so that
all processes have the triangle when the panel is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workloads.hpc.hpl_spec import HplMapping, LuProblem
from workloads.hpc.lu_messages import exchanges
from workloads.hpc.numerics import Floats

Rows = NDArray[np.int64]


class Processes(Protocol):
    """What a panel needs of the matrix."""

    problem: LuProblem
    mapping: HplMapping

    def send(self, what: str, numbers: Floats) -> Floats:
        """The numbers as they arrive elsewhere."""

    def subtract_product(self, target: Floats, left: Floats, right: Floats) -> None:
        """``target`` -= left·right, by the library's product."""


@dataclass(frozen=True)
class Panel:
    """``below[p]``: L of process row p, transposed (block, rows); ``inverse``: of the unit triangle.

    ``pivots``: the rows that the block's rows were exchanged with, in order.
    """

    below: Sequence[Floats]
    inverse: Floats
    pivots: Rows


@dataclass(frozen=True)
class _Candidate:
    """A process's largest number of a column, where it is, and that row of the panel; ``current`` if it holds that."""

    magnitude: float
    row: int
    numbers: Floats
    current: Floats | None


@dataclass(eq=False)
class _Work:
    """A panel under way: parts (block, rows) and row numbers by process row, the replicated ``top`` (block, block)."""

    k: int
    parts: Sequence[Floats]
    rows: Sequence[Rows]
    matrix: Processes
    top: Floats
    pivots: Rows

    @property
    def block(self) -> int:
        return self.matrix.problem.block

    def active(self, p: int, column: int) -> slice:
        """Where the rows from ``column`` of the block on begin in process row ``p``."""
        return slice(int(np.searchsorted(self.rows[p], self.k * self.block + column)), None)

    def divide(self, begin: int, end: int) -> None:
        """Columns ``begin`` to ``end``: halves, with a product between, down to a leaf."""
        if end - begin <= self.matrix.mapping.leaf:
            for column in range(begin, end):
                self.eliminate(column, end)
            return
        middle = begin + (end - begin) // 2
        self.divide(begin, middle)
        triangle = np.tril(self.top[begin:middle, begin:middle], -1) + np.eye(middle - begin)
        self.top[begin:middle, middle:end] = np.linalg.solve(triangle, self.top[begin:middle, middle:end])
        for p, part in enumerate(self.parts):
            place = self.active(p, middle)
            self.matrix.subtract_product(
                part[middle:end, place], self.top[begin:middle, middle:end].T, part[begin:middle, place]
            )
        self.divide(middle, end)

    def eliminate(self, column: int, end: int) -> None:
        """Find the column's pivot, exchange its row for the current one, divide, and update the leaf."""
        found = self.agree(column)
        self.pivots[column] = found.row
        self.top[column] = found.numbers
        assert found.current is not None
        for p, part in enumerate(self.parts):
            place = self.active(p, column)
            mine = self.rows[p][place]
            part[:, place][:, mine == found.row] = found.current[:, None]
            below = self.active(p, column + 1)
            part[column, below] /= self.top[column, column]
            part[column + 1 : end, below] -= np.outer(self.top[column, column + 1 : end], part[column, below])

    def agree(self, column: int) -> _Candidate:
        """The largest number of all processes: every exchange leaves the better one with both."""
        held = [self.candidate(p, column) for p in range(len(self.parts))]
        for step in exchanges(len(self.parts)):
            leaving = [held[int(each)] for each in step.source]
            for other, p in zip(leaving, step.destination.tolist(), strict=True):
                row = self.matrix.send("pivot", np.concatenate([other.numbers, np.zeros(4), other.numbers]))
                came = _Candidate(other.magnitude, other.row, row[: self.block], other.current)
                held[p] = better(held[p], came)
        return held[0]

    def candidate(self, p: int, column: int) -> _Candidate:
        """Of one process."""
        place = self.active(p, column)
        rows = self.rows[p][place]
        current = self.parts[p][:, place][:, rows == self.k * self.block + column]
        mine = current[:, 0].copy() if current.shape[1] else None
        if not len(rows):
            return _Candidate(-1.0, -1, np.zeros(self.block), mine)
        at = int(np.abs(self.parts[p][column, place]).argmax())
        numbers = self.parts[p][:, place][:, at].copy()
        return _Candidate(float(abs(numbers[column])), int(rows[at]), numbers, mine)


def better(one: _Candidate, other: _Candidate) -> _Candidate:
    """The larger, the upper row of equal ones; and the current row, whoever knows it."""
    first = (one.magnitude, -one.row) >= (other.magnitude, -other.row)
    chosen = one if first else other
    current = one.current if one.current is not None else other.current
    return _Candidate(chosen.magnitude, chosen.row, chosen.numbers, current)


def factorise_panel(k: int, *, slices: Sequence[Floats], rows: Sequence[Rows], matrix: Processes) -> Panel:
    """Factorise panel ``k`` in place. ``slices[p]``: its columns in process row p, transposed (block, all rows)."""
    block = matrix.problem.block
    work = _Work(k, slices, rows, matrix, np.zeros((block, block)), np.zeros(block, dtype=np.int64))
    work.divide(0, block)
    owner = k % len(slices)
    begin = int(np.searchsorted(rows[owner], k * block))
    slices[owner][:, begin : begin + block] = work.top.T
    triangle = np.tril(work.top, -1) + np.eye(block)
    below = [part[:, int(np.searchsorted(rows[p], (k + 1) * block)) :].copy() for p, part in enumerate(slices)]
    return Panel(below, np.asarray(np.linalg.inv(triangle), dtype=np.float64), work.pivots)
