"""Rows that are too long for the LDM: each CPE takes one row at a time, and goes over it in blocks of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.streaming import Operand, Rows, column_blocks, plan_rows, stream
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Run = Callable[[Sequence[Array], Sequence[Array]], object]
RunAt = Callable[[int, Sequence[Array], Sequence[Array]], object]


@dataclass(frozen=True)
class RowBlocks:
    """``rows`` rows of ``columns`` in blocks of up to ``width``, a row for each of ``cpes`` CPEs in every turn."""

    rows: int
    columns: int
    width: int
    cpes: int

    @property
    def turns(self) -> int:
        return -(-self.rows // self.cpes)

    def loop(self, core_group: CoreGroup, name: str) -> Iterator[int]:
        """The turns; all but the last are alike."""
        return core_group.loop(name, self.turns, steady=range(self.rows // self.cpes))

    def busy(self, turn: int) -> Array:
        """1 for each CPE that has a row in this turn, 0 for the others."""
        return (turn * self.cpes + np.arange(self.cpes) < self.rows).astype(np.float64)

    def keep(self, core_group: CoreGroup, name: str, numbers: int, dtype: np.dtype[np.floating]) -> Tile:
        """``numbers`` numbers of each CPE's row."""
        return core_group.alloc(name, size=(1, numbers), dtype=dtype, split=Split(rows=0, columns=0))

    def sweep(
        self,
        core_group: CoreGroup,
        label: str,
        *,
        turn: int,
        inputs: Sequence[MemoryArray],
        outputs: Sequence[MemoryArray],
        body: Body,
        run: Run | None = None,
        run_at: RunAt | None = None,
        resident: Sequence[Tile] = (),
        accumulators: Sequence[Tile] = (),
        flops: int = 0,
    ) -> None:
        """Go once over the rows of a turn: ``run`` gets blocks (CPEs, width) of the inputs and outputs.

        ``run_at`` gets the first column besides.
        """
        for first, width, count in self.pieces:

            def at(i: int, ins: Sequence[Array], outs: Sequence[Array], first: int = first, width: int = width) -> None:
                if run_at is not None:
                    run_at(first + i * width, ins, outs)

            cycles = stream_cycles(cpe=core_group.cpe, body=body, elements=width) * self.busy(turn)

            def operand(array: MemoryArray, first: int = first, width: int = width) -> Operand:
                return Operand(
                    array=array,
                    size=(1, width),
                    start=lambda i: (turn * self.cpes, first + i * width),
                    split=Split(rows=0, columns=0),
                )

            stream(
                core_group,
                label,
                iterations=count,
                whole=range(count),
                inputs=[operand(each) for each in inputs],
                outputs=[operand(each) for each in outputs],
                cycles=lambda _, cycles=list(cycles): cycles,  # type: ignore[misc]
                run=run,
                run_at=None if run_at is None else at,
                flops=flops * self.columns * self.rows if turn == 0 and first == 0 else 0,
                resident=resident,
                accumulators=accumulators,
            )

    @property
    def pieces(self) -> list[tuple[int, int, int]]:
        """First column, width and number of the blocks of one width: the full ones, and the rest if there is one."""
        full, rest = divmod(self.columns, self.width)
        found = [(0, self.width, full)]
        return [*found, (full * self.width, rest, 1)] if rest else found


def rows_that_fit(
    *, kernel: str, rows: int, row_bytes: Sequence[int], resident: int, processor: ProcessorSpec
) -> Rows | None:
    """As :func:`nnlib.kernels.streaming.plan_rows`; None where not even one row fits."""
    try:
        return plan_rows(kernel=kernel, rows=rows, row_bytes=row_bytes, resident=resident, processor=processor)
    except InfeasiblePlan:
        return None


def plan_row_blocks(
    *, kernel: str, rows: int, columns: int, streams: int, item: int, resident: int, processor: ProcessorSpec
) -> RowBlocks:
    """The fewest equal blocks of which ``streams`` arrays' fit twice beside ``resident`` bytes.

    ``item``: bytes of a number. Raises InfeasiblePlan if not even one column fits.
    """
    blocks = column_blocks(
        columns,
        needed=lambda width: resident + 2 * streams * aligned(width * item),
        kernel=kernel,
        processor=processor,
    )
    return RowBlocks(rows=rows, columns=columns, width=len(blocks[0]), cpes=processor.cpes_per_core_group)
