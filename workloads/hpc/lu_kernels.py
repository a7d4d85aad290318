"""What a process computes in an LU factorisation, in picoseconds: the library's kernels on its core groups.

Matrices lie column after column, so that a process's part, read row after row, is its transpose: an update
``C -= L·U`` is the library's product ``Cᵀ += Uᵀ·(-L)ᵀ``. Counts are of blocks; all methods take arrays of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.gemm_scheme import UPDATE, GemmPlan
from sim.machine.spec import ProcessorSpec
from workloads.hpc.block_times import BlockTimes
from workloads.hpc.durations import Picoseconds, picoseconds
from workloads.hpc.hpl_spec import HplMapping
from workloads.hpc.node_costs import copy_time, launch_time
from workloads.hpc.process_grid import Counts

NUMBER_BYTES = 8
REGISTER_BLOCK = GemmPlan(m=4, n=16, k=1)
"""Of the fp64 micro-kernel (SWDNN17)."""


def update_kernel(*, columns: int, rows: int, depth: int, processor: ProcessorSpec) -> Gemm:
    """The product added to ``columns`` × ``rows`` numbers of the transposed matrix.

    All of the depth comes at a time, so that the left operand stays while the matrix streams by: of the tiles that do
    so the largest that fits the LDM.
    """
    mesh_rows, mesh_columns = processor.mesh.rows, processor.mesh.columns
    k, n = -(-depth // mesh_columns), REGISTER_BLOCK.n
    numbers = processor.cpe.ldm_bytes // NUMBER_BYTES
    fitting = (numbers - 2 * k * n) // (2 * k + 3 * n)  # two of either operand, three of the matrix
    part = -(-columns // mesh_rows)
    fitting -= fitting % REGISTER_BLOCK.m
    m = 0
    if fitting > 0:  # equal tiles, so that none is nearly empty
        even = -(-part // -(-part // fitting))
        m = -(-even // REGISTER_BLOCK.m) * REGISTER_BLOCK.m
    plan = GemmPlan(m=m, n=n, k=k) if m > 0 and rows >= n * mesh_columns else None
    return Gemm(m=columns, n=rows, k=depth, dtype="fp64", scheme=UPDATE, plan=plan, accumulate=True)


def solve_kernel(*, columns: int, block: int) -> Gemm:
    """``columns`` columns of U, transposed: times the transposed inverse of the panel's triangle."""
    return Gemm(m=columns, n=block, k=block, dtype="fp64")


@dataclass(frozen=True, eq=False)
class LuKernels:
    """Kernels of a process on ``sharers`` core groups, each of which takes its part of the rows or columns."""

    block: int
    mapping: HplMapping
    clock: KernelClock
    times: dict[tuple[str, int, int], BlockTimes] = field(default_factory=dict)

    @property
    def processor(self) -> ProcessorSpec:
        return self.clock.processor

    @property
    def sharers(self) -> int:
        """Core groups of a process."""
        return self.processor.core_groups if self.mapping.process == "node" else 1

    @property
    def launch(self) -> int:
        """Before a kernel runs: spawn and join, or with persistent threads a meeting through flags."""
        threads = self.mapping.persistent_threads
        meeting = launch_time(self.processor, persistent_threads=True)
        # core groups that share a process meet, which persistent threads do in any case
        extra = meeting if self.sharers > 1 and not threads else 0
        return launch_time(self.processor, persistent_threads=threads) + extra

    @property
    def widest(self) -> int:
        """Blocks of columns in a launch."""
        return max(1, self.mapping.update_columns // self.block)

    def update(self, rows: Counts, columns: Counts, extra: Counts) -> Picoseconds:
        """Of ``rows`` × ``columns`` blocks and, where ``extra``, of one column of numbers more."""
        mine = -(-rows // self.sharers)
        full, rest = np.divmod(columns, self.widest)
        found = full * self._product(np.where(full > 0, mine, 0), self.widest * self.block, self.block)
        for width in range(1, self.widest):
            found = found + self._product(np.where(rest == width, mine, 0), width * self.block, self.block)
        return found + self._product(np.where(extra, mine, 0), 1, self.block)

    def solve(self, columns: Counts, extra: Counts) -> Picoseconds:
        """Of the block row of U over ``columns`` blocks; the column of numbers is the MPE's."""
        mine = -(-columns // self.sharers)
        full, rest = np.divmod(mine, self.widest)
        times = self._times("solve", 0, 0, lambda count: solve_kernel(columns=count * self.block, block=self.block))
        found = full * (times.of(np.array(self.widest)) + self.launch)
        found = found + np.where(rest > 0, times.of(rest) + self.launch, 0)
        return found + np.where(extra, self.on_mpe(2 * self.block**2), 0)

    def panel_products(self, rows: Counts) -> Picoseconds:
        """Products of the recursion over a panel of ``rows`` blocks, from its halves down to its leaves."""
        found = np.zeros(np.shape(rows), dtype=np.int64)
        mine = -(-rows // self.sharers)
        width, count = self.block // 2, 1
        while width >= self.mapping.leaf:
            found = found + count * self._product(mine, width, width)
            width, count = width // 2, 2 * count
        return found

    def panel_columns(self, rows: Counts) -> Picoseconds:
        """Of a leaf's columns: the search for the pivot, the division by it, the update of the leaf's other columns."""
        mine = -(-rows // self.sharers)
        leaf = self.mapping.leaf
        streamed = self.streamed(3 * mine * self.block * NUMBER_BYTES) + np.where(mine > 0, 2 * self.launch, 0)
        updates = self.block // leaf * (leaf - 1)
        return self.block * streamed + updates * self._product(mine, leaf, 1)

    def streamed(self, moved: Counts) -> Picoseconds:
        """Bytes through a core group's DMA at the rate of its lines, after one start-up."""
        dma = self.processor.dma
        startup = dma.startup_cycles / self.processor.clock_hertz
        return picoseconds(np.where(moved > 0, startup + moved / dma.line_bytes * dma.line_seconds, 0.0))

    def copies(self, moved: Counts) -> Picoseconds:
        """Bytes that the process's MPEs copy from memory to memory."""
        return copy_time(self.processor, moved, mpes=self.sharers)

    def on_mpe(self, flops: float) -> int:
        """Small work on one MPE, at its peak."""
        processor = self.processor
        return int(picoseconds(flops / (processor.mpe.flops_per_cycle * processor.clock_hertz)))

    def _product(self, rows: Counts, columns: int, depth: int) -> Picoseconds:
        """One launch of an update of ``rows`` blocks × ``columns`` numbers; none for no rows."""
        if not np.any(rows):
            return np.zeros(np.shape(rows), dtype=np.int64)
        peak, fraction = self.processor.core_group_cpe_peak_flops, self.mapping.kernel_fraction
        if fraction is not None and depth == self.block:
            taken = picoseconds(2.0 * rows * self.block * columns * depth / (fraction * peak))
        else:
            times = self._times(
                "update",
                columns,
                depth,
                lambda count: update_kernel(
                    columns=columns, rows=count * self.block, depth=depth, processor=self.processor
                ),
            )
            taken = times.of(rows)
        return np.where(rows > 0, taken + self.launch, 0)

    def _times(self, name: str, columns: int, depth: int, build: Callable[[int], Kernel]) -> BlockTimes:
        key = name, columns, depth
        if key not in self.times:
            tile = REGISTER_BLOCK.n * self.processor.mesh.columns
            self.times[key] = BlockTimes(self.clock, build, steady_from=1 + -(-tile // self.block))
        return self.times[key]
