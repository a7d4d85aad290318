"""Rows of a table picked by number. Every CPE takes its share of the tokens and gets the row of each by DMA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.arranging.rows_by_number import Picks, assumed_rows, rows_at
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, column_blocks, stream
from nnlib.kernels.window import MISSING
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

TOGETHER = 8
"""Rows, at most, that a CPE gets at a time and puts side by side."""
SHARE_BYTES = 16384
"""Bytes of a CPE's share of the tokens, at most: longer shares come in turns."""


@dataclass(frozen=True)
class GatherRows:
    """``y[t]`` = the row of ``table`` that token t picks; ``tokens`` are numbers from 0 to the rows of a table less 1.

    Times do not depend on data: rows are taken to lie apart from one another.
    """

    picks: Picks
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "gather_rows"

    def parameters(self) -> tuple[Parameter, ...]:
        picks = self.picks
        return (
            Parameter("tokens", (picks.number,), "in"),
            Parameter("table", (picks.height, picks.width), "in"),
            Parameter("y", (picks.number, picks.width), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["y"][...] = arrays["table"][self.picks.keys(arrays["tokens"])]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no part of a row fits."""
        item, cpes = DTYPES[self.dtype].itemsize, core_group.cpes
        share = min(-(-self.picks.number // cpes), SHARE_BYTES // item)
        for columns in column_blocks(
            self.picks.width,
            needed=lambda width: aligned((share + TOGETHER) * item) + 4 * aligned(width * item),
            kernel=self.name,
            processor=core_group.processor,
        ):
            room = core_group.processor.cpe.ldm_bytes - aligned((share + TOGETHER) * item)
            together = max(1, min(TOGETHER, share, room // (4 * aligned(len(columns) * item))))
            per_cpe = -(-share // together) * together
            for first in range(0, self.picks.number, per_cpe * cpes):
                self.gather(core_group, arguments, columns, first, per_cpe, together)

    def gather(
        self, core_group: CoreGroup, arguments: Arguments, columns: range, first: int, per_cpe: int, together: int
    ) -> None:
        """``per_cpe`` tokens for each CPE from ``first`` on, ``together`` rows at a time."""
        dtype, cpes, picks = DTYPES[self.dtype], core_group.cpes, self.picks
        tokens = core_group.alloc("tokens", size=(per_cpe,), dtype=dtype, split=Split(rows=0, columns=0))
        core_group.wait(core_group.get(tokens, arguments["tokens"], (first,)))
        begin = first + np.arange(cpes) * per_cpe

        def slots(iteration: int, number: int) -> Integers:
            """The number of each CPE's token among all."""
            found: Integers = begin + iteration * together + number
            return found

        def assumed(iteration: int, number: int) -> Integers:
            return assumed_rows(cpes, slots(iteration, number) < picks.number, picks.height, columns.start)

        def found(iteration: int, number: int) -> Integers:
            slot = slots(iteration, number)
            row = tokens.values()[slot - first].astype(np.int64) + slot // picks.tokens * picks.rows
            return rows_at(np.where(slot < picks.number, row, MISSING), columns.start)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            for number, rows in enumerate(ins):
                outs[0][:, number] = rows[:, 0]

        width = len(columns)
        cycles = stream_cycles(cpe=core_group.cpe, body=Body(loads=1, stores=1), elements=together * width)
        iterations = per_cpe // together
        last = (picks.number - first - (cpes - 1) * per_cpe) // together
        stream(
            core_group,
            self.name,
            iterations=iterations,
            whole=range(max(last, 0)),
            inputs=[
                Operand(
                    arguments["table"],
                    (1, width),
                    lambda iteration, number=number: assumed(iteration, number),  # type: ignore[misc]
                    None,
                    lambda iteration, number=number: found(iteration, number),  # type: ignore[misc]
                )
                for number in range(together)
            ],
            outputs=[Operand(arguments["y"], (together, width), lambda i: rows_at(slots(i, 0), columns.start), None)],
            cycles=lambda iteration: np.where(slots(iteration, 0) < picks.number, cycles, 0.0).tolist(),
            run=run,
            resident=[tokens],
        )
        core_group.free(tokens)
