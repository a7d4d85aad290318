"""The parts of an LU factorisation, each with what it costs: made of kernels and messages, in picoseconds.

``rows`` and ``columns`` count blocks of the process that has most; both may be arrays. These are the only costs there
are: the run that computes and the recurrence over steps both take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from workloads.hpc.durations import Picoseconds
from workloads.hpc.hpl_spec import LuProblem
from workloads.hpc.lu_kernels import NUMBER_BYTES, LuKernels
from workloads.hpc.lu_messages import LuMessages
from workloads.hpc.process_grid import Counts, blocks_from

PIVOT_NUMBERS = 4
"""Sent with the two rows when a pivot is looked for: the number, its magnitude, and where it is."""


@dataclass(frozen=True, eq=False)
class LuCosts:
    """Costs of ``problem``."""

    problem: LuProblem
    kernels: LuKernels
    messages: LuMessages

    def swap(self, columns: Counts, extra: Counts) -> Picoseconds:
        """The rows of a block exchanged within the process columns, and copied out of the matrix and into it."""
        row_bytes = (columns * self.problem.block + extra) * NUMBER_BYTES
        exchanged = self.messages.swap(self.problem.block, row_bytes)
        return exchanged + self.kernels.copies(2 * self.problem.block * row_bytes)

    def solve(self, columns: Counts, extra: Counts) -> Picoseconds:
        """The block row of U."""
        return self.kernels.solve(columns, extra)

    def update(self, rows: Counts, columns: Counts, extra: Counts) -> Picoseconds:
        """Products added to the rest of the matrix."""
        return self.kernels.update(rows, columns, extra)

    def iteration(self, rows: Counts, columns: Counts, extra: Counts | int = 0) -> Picoseconds:
        """All that a process column does with a panel, once it has it."""
        rows, columns, extra = np.asarray(rows), np.asarray(columns), np.asarray(extra)
        swap, update = self.swap(columns, extra), self.update(rows, columns, extra)
        joined = np.maximum(swap, update) if self.kernels.mapping.swap_overlapped else swap + update
        return self.solve(columns, extra) + joined

    def panel(self, rows: Counts) -> Picoseconds:
        """A panel of ``rows`` blocks factorised by its process column, its triangle inverted."""
        block, kernels = self.problem.block, self.kernels
        # products with triangles of half the width and of half that, on the replicated top
        top = kernels.on_mpe(block**3 / 6) + kernels.on_mpe(block**3 / 3)
        pivots = block * self.messages.agree((PIVOT_NUMBERS + 2 * block) * NUMBER_BYTES)
        rows = np.asarray(rows)
        return kernels.panel_columns(rows) + kernels.panel_products(rows) + pivots + top

    def panel_bytes(self, rows_after: Counts) -> Counts:
        """What is broadcast to a process that holds ``rows_after`` blocks below the panel: those, triangle, pivots."""
        block = self.problem.block
        return (rows_after * block * block + block * block + block) * NUMBER_BYTES

    @cached_property
    def rows_after(self) -> Counts:
        """Blocks of rows below each panel in the process that has most."""
        return -(-(self.problem.blocks - 1 - np.arange(self.problem.blocks)) // self.problem.grid.rows)

    @cached_property
    def panels(self) -> Picoseconds:
        """Cost of each panel."""
        return self.panel(-(-(self.problem.blocks - np.arange(self.problem.blocks)) // self.problem.grid.rows))

    @cached_property
    def back_substitution(self) -> int:
        """Block after block: partial sums of a process row, a small triangle on an MPE, the result to its column.

        Products with the other blocks of that column run under the next blocks' messages.
        """
        block = self.problem.block
        size = block * NUMBER_BYTES
        each = self.messages.along_row(size) + self.messages.along_column(size) + self.kernels.on_mpe(3 * block**2)
        return self.problem.blocks * each

    def rows_of(self, row: int, first: int) -> int:
        """Blocks of rows from ``first`` on in a process row."""
        return int(blocks_from(first, blocks=self.problem.blocks, place=row, places=self.problem.grid.rows))
