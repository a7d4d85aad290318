"""Matrices shared out over the CPEs by rows, by columns or by both, and streamed in few rounds through the LDM.

For matrices with few rows, such as the states of a recurrent layer: a batch of 8 keeps all CPEs busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.estimates import transfer_cycles
from nnlib.kernels.kernel import check_fits
from nnlib.kernels.streaming import Cycles, Operand, Run, stream
from sim.chip.ldm import aligned
from sim.chip.memory import MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split
from sim.machine.spec import CpeSpec, ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Grid:
    """A matrix of ``rows`` × ``columns`` in rounds of ``part`` for each CPE, of which ``mesh`` stand beside each other.

    ``mesh``: the core group's, or all CPEs in one row or one column.
    """

    rows: int
    columns: int
    part: tuple[int, int]
    mesh: tuple[int, int]

    @property
    def rounds(self) -> tuple[int, int]:
        """Blocks of rows, and of columns in each."""
        return -(-self.rows // (self.part[0] * self.mesh[0])), -(-self.columns // (self.part[1] * self.mesh[1]))

    def start(self, iteration: int) -> tuple[int, int]:
        """First row and column of a round."""
        block, column_block = divmod(iteration, self.rounds[1])
        return block * self.part[0] * self.mesh[0], column_block * self.part[1] * self.mesh[1]

    def split(self, row_axis: int | None, column_axis: int | None) -> Split:
        """How a tile with these axes is divided."""
        if self.mesh[1] == 1:
            return Split(row_axis, row_axis)
        if self.mesh[0] == 1:
            return Split(column_axis, column_axis)
        return Split(row_axis, column_axis)

    def operand(self, array: MemoryArray) -> Operand:
        """``array`` (rows, planes, columns): the same part of each plane."""
        _, planes, _ = array.shape
        return Operand(
            array=array,
            size=(self.part[0], planes, self.part[1]),
            start=lambda i: (self.start(i)[0], 0, self.start(i)[1]),
            split=self.split(0, 2),
        )

    def per_row(self, array: MemoryArray) -> Operand:
        """``array`` (rows, n): whole rows, the same for all CPEs of a mesh row."""
        return Operand(
            array=array,
            size=(self.part[0], array.shape[1]),
            start=lambda i: (self.start(i)[0], 0),
            split=self.split(0, None),
        )

    def per_column(self, array: MemoryArray) -> Operand:
        """``array`` (n, columns): whole columns, the same for all CPEs of a mesh column."""
        return Operand(
            array=array,
            size=(array.shape[0], self.part[1]),
            start=lambda i: (0, self.start(i)[1]),
            split=self.split(None, 1),
        )

    def cycles(self, body: Body, cpe: CpeSpec) -> Callable[[int], Cycles]:
        """Cycles per CPE of a loop with ``body`` over the elements of its part that lie in the matrix."""

        def of(iteration: int) -> list[float]:
            rows, columns = (
                np.clip(length - first - np.arange(cpes) * part, 0, part)
                for length, first, cpes, part in zip(
                    (self.rows, self.columns), self.start(iteration), self.mesh, self.part, strict=True
                )
            )
            elements = np.outer(rows, columns).ravel().tolist()
            return [stream_cycles(cpe=cpe, body=body, elements=each) if each else 0.0 for each in elements]

        return of

    def stream(
        self,
        core_group: CoreGroup,
        label: str,
        *,
        inputs: Sequence[Operand],
        outputs: Sequence[Operand],
        body: Body,
        run: Run,
        flops: int = 0,
    ) -> None:
        """Get, compute and put each round, the next one's get under the compute."""
        blocks, column_blocks = self.rounds
        stream(
            core_group,
            label,
            iterations=blocks * column_blocks,
            whole=range(self.rows // (self.part[0] * self.mesh[0]) * column_blocks),
            period=column_blocks,
            inputs=inputs,
            outputs=outputs,
            cycles=self.cycles(body, core_group.cpe),
            run=run,
            flops=flops,
        )


def plan_grid(
    *,
    kernel: str,
    rows: int,
    columns: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    row_bytes: Sequence[int],
    item: int,
    body: Body,
    processor: ProcessorSpec,
) -> Grid:
    """The way of sharing out with the least estimated time, in rounds as large as fit the LDM twice.

    ``inputs``, ``outputs``: planes of each operand with columns, elements of ``item`` bytes; ``row_bytes``: of each
    operand that has a row for all columns. Raises InfeasiblePlan if not even one element of each fits.
    """
    wide, available = (*inputs, *outputs), processor.cpe.ldm_bytes

    def needed(part: tuple[int, int]) -> int:
        elements = part[0] * part[1]
        return 2 * sum(aligned(each * elements * item) for each in wide) + 2 * sum(
            aligned(each * part[0]) for each in row_bytes
        )

    def grid(mesh: tuple[int, int]) -> Grid:
        most_rows, width = -(-rows // mesh[0]), -(-columns // mesh[1])
        while needed((1, width)) > available:
            width = -(-width // 2)
        blocks = 1
        while needed((-(-most_rows // blocks), width)) > available:
            blocks += 1
        return Grid(rows=rows, columns=columns, part=(-(-most_rows // blocks), width), mesh=mesh)

    def estimate(found: Grid) -> float:
        height, width = found.part
        compute = stream_cycles(cpe=processor.cpe, body=body, elements=height * width)
        busy = min(found.mesh[0], rows) * min(found.mesh[1], columns) / processor.cpes_per_core_group
        moved = 0.0
        for number, planes in enumerate(wide):
            blocks, run = (height * planes, width * item) if width < columns else (1, height * planes * width * item)
            moved += transfer_cycles(processor, blocks=blocks, run_bytes=run)
            if number >= len(inputs) and run <= dma.partial_put_block_bytes:
                partial = dma.partial_put_block_seconds * processor.clock_hertz
                moved += processor.cpes_per_core_group * blocks * partial
        return found.rounds[0] * found.rounds[1] * max(compute, busy * moved + dma.startup_cycles)

    check_fits(kernel=kernel, needed=needed((1, 1)), processor=processor)
    dma, cpes = processor.dma, processor.cpes_per_core_group
    meshes = ((processor.mesh.rows, processor.mesh.columns), (cpes, 1), (1, cpes))
    return min((grid(mesh) for mesh in meshes), key=estimate)
