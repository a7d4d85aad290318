"""A matrix and its right-hand side on virtual processes, and the steps of its factorisation as they compute.

Every process has its own array and learns of the others' numbers by messages alone, which ``sent`` counts. Arrays lie
as in :mod:`workloads.hpc.lu_kernels`: transposed, a process's columns one behind the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.kernel import Kernel
from sim.machine.spec import ProcessorSpec
from workloads.hpc.hpl_spec import HplMapping, LuProblem
from workloads.hpc.lu_kernels import solve_kernel, update_kernel
from workloads.hpc.lu_messages import exchanges
from workloads.hpc.lu_panel import Panel, factorise_panel
from workloads.hpc.numerics import Floats, Numerics, compute


@dataclass(eq=False)
class LuMatrix:
    """The matrix (N, N) and its right-hand side (N,), dealt out. ``numerics``: products whole or in the tiles.

    ``parts[p, q]``: the transposed part of a process, its columns by its rows; ``panels``: those factorised so far.
    """

    problem: LuProblem
    mapping: HplMapping
    processor: ProcessorSpec
    matrix: Floats
    right: Floats
    numerics: Numerics = "layer"
    parts: dict[tuple[int, int], Floats] = field(default_factory=dict)
    panels: dict[int, Panel] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        grid = self.problem.grid
        whole = np.concatenate([self.matrix, self.right[:, None]], axis=1)
        for p in range(grid.rows):
            for q in range(grid.columns):
                self.parts[p, q] = np.ascontiguousarray(whole[np.ix_(self.rows(p), self.columns(q))].T)

    def rows(self, p: int, first: int = 0) -> NDArray[np.int64]:
        """Row numbers that process row ``p`` holds, from block ``first`` on."""
        return self._numbers(p, first, self.problem.grid.rows)

    def columns(self, q: int, first: int = 0) -> NDArray[np.int64]:
        """Column numbers of process column ``q`` from block ``first`` on; the right-hand side is column N."""
        numbers = self._numbers(q, first, self.problem.grid.columns)
        if q == self.problem.blocks % self.problem.grid.columns:
            numbers = np.append(numbers, self.problem.order)
        return numbers

    def _numbers(self, place: int, first: int, places: int) -> NDArray[np.int64]:
        block = self.problem.block
        owned = np.arange(place, self.problem.blocks, places)
        return np.asarray((owned[owned >= first][:, None] * block + np.arange(block)).ravel())

    def send(self, what: str, numbers: Floats) -> Floats:
        """The numbers as they arrive elsewhere."""
        self.sent[what] += 1
        self.sent[f"{what} bytes"] += numbers.nbytes
        return numbers.copy()

    def factorise(self, k: int) -> None:
        """Panel ``k`` by its process column, with the inverse of its triangle."""
        q = k % self.problem.grid.columns
        begin = len(self.columns(q)) - len(self.columns(q, k))
        slices = [self.parts[p, q][begin : begin + self.problem.block] for p in range(self.problem.grid.rows)]
        self.panels[k] = factorise_panel(
            k, slices=slices, rows=[self.rows(p) for p in range(self.problem.grid.rows)], matrix=self
        )

    def broadcast(self, k: int) -> None:
        """Panel ``k`` to all process columns: every process but the first of each row gets it once."""
        panel = self.panels[k]
        for p in range(self.problem.grid.rows):
            for _ in range(self.problem.grid.columns - 1):
                for part in (panel.below[p], panel.inverse, panel.pivots.astype(np.float64)):
                    self.sent["panel bytes"] += part.nbytes
                self.sent["panel"] += 1

    def update(self, k: int, q: int, columns: slice) -> None:
        """What panel ``k`` does to some local columns of process column ``q``: rows, triangle, products."""
        panel, grid = self.panels[k], self.problem.grid
        upper = self._exchange(k, q, columns)
        count = upper.shape[0]
        if not count:
            return
        solved = np.full_like(upper, np.nan)
        solve = solve_kernel(columns=count, block=self.problem.block)
        # rows times the transposed inverse
        self._compute(solve, {"a": upper, "b": np.ascontiguousarray(panel.inverse.T), "c": solved})
        owner = k % grid.rows
        begin = self._row_begin(owner, k)
        self.parts[owner, q][columns, begin : begin + self.problem.block] = solved
        for p in range(grid.rows):
            begin = self._row_begin(p, k + 1)
            self.subtract_product(self.parts[p, q][columns, begin:], solved, panel.below[p])

    def subtract_product(self, target: Floats, left: Floats, right: Floats) -> None:
        """``target`` (columns, rows) -= left·right, by the library's product."""
        columns, rows = target.shape
        if not rows:
            return
        kernel = update_kernel(columns=columns, rows=rows, depth=left.shape[1], processor=self.processor)
        changed = np.ascontiguousarray(target)
        self._compute(kernel, {"a": np.ascontiguousarray(left), "b": -right, "c": changed})
        target[...] = changed

    def _row_begin(self, p: int, first: int) -> int:
        """Where the rows of block ``first`` and later begin in process row ``p``."""
        return len(self.rows(p)) - len(self.rows(p, first))

    def _compute(self, kernel: Kernel, arrays: dict[str, Floats]) -> None:
        compute(kernel, arrays, processor=self.processor, numerics=self.numerics)

    def _exchange(self, k: int, q: int, columns: slice) -> Floats:
        """Rows exchanged as the pivots say; every process of the column then has the upper ones (columns, block).

        The owner of the block sends what leaves it, then all pass around what comes into it.
        """
        grid, block = self.problem.grid, self.problem.block
        top = k * block + np.arange(block)
        source, place = permutation(top, self.panels[k].pivots)
        holder = {int(row): (p, at) for p in range(grid.rows) for at, row in enumerate(self.rows(p))}
        owner = k % grid.rows
        old = self.parts[owner, q][columns, self._row_begin(owner, k) :][:, :block].copy()
        pieces: list[dict[int, Floats]] = [{} for _ in range(grid.rows)]
        for number, row in enumerate(source):
            p, at = holder[int(row)]
            pieces[p][number] = self.parts[p, q][columns, at].copy()
        for row, came_from in place.items():
            p, at = holder[row]
            moved = old[:, came_from - k * block]
            self.parts[p, q][columns, at] = self.send("spread", moved) if p != owner else moved
        if self.mapping.swap == "binary_exchange":
            for step in exchanges(grid.rows):
                leaving = [dict(pieces[int(each)]) for each in step.source]
                for held, p in zip(leaving, step.destination, strict=True):
                    self.sent["exchange"] += 1
                    pieces[int(p)].update(held)
        else:
            under_way = [dict(each) for each in pieces]
            for _ in range(grid.rows - 1):
                under_way = [
                    {number: self.send("roll", row) for number, row in under_way[p - 1].items()}
                    for p in range(grid.rows)
                ]
                for p in range(grid.rows):
                    pieces[p].update(under_way[p])
        uppers = [
            np.stack([held[number] for number in range(block)], axis=1) if old.shape[0] else old for held in pieces
        ]
        return np.ascontiguousarray(uppers[owner])


def permutation(top: NDArray[np.int64], pivots: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[int, int]]:
    """Of exchanging row ``top[j]`` with row ``pivots[j]``, one after the other.

    Which rows come into the top ones, and for each row outside them that gets another one, which top row that is.
    """
    held: dict[int, int] = {int(row): int(row) for row in (*top, *pivots)}
    for upper, lower in zip(top.tolist(), pivots.tolist(), strict=True):
        held[upper], held[lower] = held[lower], held[upper]
    inside = set(top.tolist())
    place = {row: source for row, source in held.items() if row not in inside and source != row}
    return np.array([held[row] for row in top.tolist()]), place
