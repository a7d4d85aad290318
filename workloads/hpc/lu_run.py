"""An LU factorisation process by process: every process has its clock and, if wanted, its part of a real matrix.

Written in the order in which a process does its work. What it computes and what it waits for are one program; the
recurrence of :mod:`workloads.hpc.lu_timing` is tested against its clocks, and its numbers against the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workloads.hpc.durations import Picoseconds
from workloads.hpc.lu_costs import LuCosts
from workloads.hpc.lu_matrix import LuMatrix
from workloads.hpc.numerics import Floats
from workloads.hpc.process_grid import blocks_from

MOST_PROCESSES = 256


@dataclass(eq=False)
class LuRun:
    """``clocks[p, q]`` in picoseconds. ``matrix``: what is factorised, None to run the clocks alone.

    Raises ValueError for more than 256 processes.
    """

    costs: LuCosts
    matrix: LuMatrix | None = None
    clocks: Picoseconds = field(init=False)

    def __post_init__(self) -> None:
        grid = self.costs.problem.grid
        if grid.processes > MOST_PROCESSES:
            raise ValueError(f"process by process: at most {MOST_PROCESSES} processes, got {grid.processes}")
        self.clocks = np.zeros((grid.rows, grid.columns), dtype=np.int64)

    def factorise(self) -> None:
        """All panels, from the first to the last; ``clocks`` are then when each process is through."""
        problem, ahead = self.costs.problem, self.costs.kernels.mapping.lookahead > 0
        columns = problem.grid.columns
        self.panel(0)
        arrived = self.broadcast(0, posted=np.zeros(columns, dtype=np.int64))
        for k in range(problem.blocks):
            self.clocks = np.maximum(self.clocks, arrived)
            # the exchange of rows begins when the last process of a column has come
            posted = self.clocks.max(axis=0)
            owner, more = (k + 1) % columns, k + 1 < problem.blocks
            for q in range(columns):
                if q == owner and more and ahead:
                    self.iterate(k, q, 1, posted=int(posted[q]))
                    self.panel(k + 1)
                    arrived = self.broadcast(k + 1, posted=posted)
                    left = self.left(k, q)
                    self.iterate(k, q, left - 1, skip=1, posted=int(self.clocks[:, q].max()))
                else:
                    self.iterate(k, q, self.left(k, q), posted=int(posted[q]))
            if more and not ahead:
                self.panel(k + 1)
                arrived = self.broadcast(k + 1, posted=posted)

    def left(self, k: int, q: int) -> int:
        """Blocks of columns after panel ``k`` in process column ``q``."""
        problem = self.costs.problem
        return int(blocks_from(k + 1, blocks=problem.blocks, place=q, places=problem.grid.columns))

    def iterate(self, k: int, q: int, blocks: int, *, posted: int, skip: int = 0) -> None:
        """Panel ``k`` applied to ``blocks`` blocks of columns of process column ``q``, after the first ``skip``.

        The right-hand side goes with the last ones.
        """
        problem = self.costs.problem
        last = skip + blocks == self.left(k, q)
        extra = int(last and q == problem.blocks % problem.grid.columns and (skip or not self.split(k, q)))
        if self.matrix is not None:
            numbers = len(self.matrix.columns(q))
            begin = numbers - len(self.matrix.columns(q, k + 1)) + skip * problem.block
            self.matrix.update(k, q, slice(begin, begin + blocks * problem.block + extra))
        for p in range(problem.grid.rows):
            rows = np.array(self.costs.rows_of(p, k + 1))
            self.clocks[p, q] = posted + int(self.costs.iteration(rows, np.array(blocks), np.array(extra)))

    def split(self, k: int, q: int) -> bool:
        """True if process column ``q`` factorises the next panel between two parts of step ``k``."""
        problem = self.costs.problem
        ahead = self.costs.kernels.mapping.lookahead > 0
        return ahead and q == (k + 1) % problem.grid.columns and k + 1 < problem.blocks

    def panel(self, k: int) -> None:
        """Panel ``k``: its process column agrees on every pivot, so all leave together."""
        problem = self.costs.problem
        q = k % problem.grid.columns
        if self.matrix is not None:
            self.matrix.factorise(k)
        rows = max(self.costs.rows_of(p, k) for p in range(problem.grid.rows))
        self.clocks[:, q] = self.clocks[:, q].max() + int(self.costs.panel(np.array(rows)))

    def broadcast(self, k: int, *, posted: Picoseconds) -> Picoseconds:
        """When panel ``k``, ready now where it was factorised, reaches each process; message by message."""
        grid, messages = self.costs.problem.grid, self.costs.messages
        mapping = self.costs.kernels.mapping
        root, columns = k % grid.columns, grid.columns
        if self.matrix is not None:
            self.matrix.broadcast(k)
        arrived = np.zeros((grid.rows, columns), dtype=np.int64)
        for p in range(grid.rows):
            size = np.array(int(self.costs.panel_bytes(np.array(self.costs.rows_of(p, k + 1)))))
            arrived[p, root] = free = int(self.clocks[p, root])

            def send(start: int, distance: int, to: int, size: Picoseconds = size) -> int:
                hop = messages.hop(to - distance, distance)
                return max(start, int(posted[to % columns])) + int(hop.picoseconds(size))

            if mapping.broadcast == "long":
                self.in_parts(arrived[p], root=root, posted=posted, size=int(size))
                continue
            for head, end in mapping.chains(columns):
                free = now = send(free, head, root + head)
                arrived[p, (root + head) % columns] = now
                for offset in range(head + 1, end):
                    now = send(now, 1, root + offset)
                    arrived[p, (root + offset) % columns] = now
        return arrived

    def in_parts(self, arrived: Picoseconds, *, root: int, posted: Picoseconds, size: int) -> None:
        """Scattered over a process row, then all parts around it; all others end together."""
        columns = len(arrived)
        levels, ring = self.costs.messages.in_parts
        others = [q for q in range(columns) if q != root]
        if not others:
            return
        now = max(int(arrived[root]), *(int(posted[q]) for q in others))
        for (distance, _), pattern in levels:
            now += int(pattern.picoseconds(np.array(-(-size * min(distance, columns - distance) // columns))))
        for _ in range(columns - 1):
            now += int(ring.picoseconds(np.array(-(-size // columns))))
        for q in others:
            arrived[q] = now


def back_substitute(matrix: LuMatrix) -> Floats:
    """x from the factorised matrix: partial sums along a process row, a triangle, the result down its column."""
    problem, grid = matrix.problem, matrix.problem.grid
    block = problem.block
    side = problem.blocks % grid.columns
    x = np.zeros(problem.order)
    known: list[dict[int, Floats]] = [{} for _ in range(grid.columns)]
    for k in reversed(range(problem.blocks)):
        p, q = k % grid.rows, k % grid.columns
        rows = slice(begin := len(matrix.rows(p)) - len(matrix.rows(p, k)), begin + block)
        sums = []
        for column in range(grid.columns):
            part = np.zeros(block)
            for other, numbers in known[column].items():
                at = len(matrix.columns(column)) - len(matrix.columns(column, other))
                part += matrix.parts[p, column][at : at + block, rows].T @ numbers
            sums.append(matrix.send("sums", part))
        left = matrix.send("right-hand side", matrix.parts[p, side][-1, rows]) - np.sum(sums, axis=0)
        at = len(matrix.columns(q)) - len(matrix.columns(q, k))
        triangle = np.triu(matrix.parts[p, q][at : at + block, rows].T)
        solution = np.linalg.solve(triangle, left)
        known[q][k] = matrix.send("solution", solution)
        x[k * block : (k + 1) * block] = solution
    return x


def scaled_residual(matrix: Floats, x: Floats, right: Floats) -> float:
    """As the benchmark has it, to be below 16: ‖Ax − b‖ / (ε (‖A‖·‖x‖ + ‖b‖) N), largest norms."""
    norm = float(np.abs(matrix).sum(axis=1).max() * np.abs(x).max() + np.abs(right).max())
    epsilon = float(np.finfo(np.float64).eps) / 2
    return float(np.abs(matrix @ x - right).max()) / (epsilon * norm * len(right))
