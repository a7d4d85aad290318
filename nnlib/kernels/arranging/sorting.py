"""Tokens in the order of the rows they pick: a sort within each CPE, then a bitonic merge over the mesh.

K. E. Batcher, "Sorting networks and their applications", AFIPS 1968: what is compared does not depend on the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.kernel import Arguments, Parameter, check_fits
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

COMPARISON: Final = Body(loads=4, stores=2, arithmetic=4)
"""Of a pair of numbers and their places: loads, a comparison, selections, stores."""


@dataclass(frozen=True)
class SortTokens:
    """``rows`` = the rows that ``tokens`` pick, ascending; ``order`` = the token of each, first ones first."""

    picks: Picks
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "sort_tokens"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.picks.number,)
        return Parameter("tokens", shape, "in"), Parameter("rows", shape, "out"), Parameter("order", shape, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        keys = self.picks.keys(arrays["tokens"])
        order = np.argsort(keys, kind="stable")
        arrays["rows"][...], arrays["order"][...] = keys[order], order

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if the tokens do not fit the LDM of all CPEs."""
        dtype, cpes, number = DTYPES[self.dtype], core_group.cpes, self.picks.number
        share = -(-number // cpes)
        needed = 4 * aligned(share * dtype.itemsize)
        check_fits(kernel=self.name, needed=needed, processor=core_group.processor)
        split = Split(rows=0, columns=0)
        tokens, rows, order, _ = tiles = [
            core_group.alloc(name, size=(share,), dtype=dtype, split=split)
            for name in ("tokens", "rows", "order", "exchange")
        ]
        core_group.wait(core_group.get(tokens, arguments["tokens"], (0,)))

        def sort() -> None:
            keys = self.picks.keys(tokens.values()[:number])
            found = np.argsort(keys, kind="stable")
            rows.values()[...] = order.values()[...] = 0
            rows.values()[:number], order.values()[:number] = keys[found], found

        cpe = core_group.cpe
        one = stream_cycles(cpe=cpe, body=COMPARISON, elements=share)
        core_group.compute(
            "sort own tokens", cycles=one * max(share - 1, 1).bit_length(), reads=[tokens], writes=[rows, order]
        )
        columns = core_group.mesh[1]
        for stage in range((cpes - 1).bit_length()):
            for distance in range(stage, -1, -1):
                # partners differ in one bit of their number: along rows or along columns
                if 1 << distance < columns:
                    core_group.row_broadcast("exchange along rows")
                else:
                    core_group.column_broadcast("exchange along columns")
                core_group.compute("merge", cycles=2 * one, reads=[rows, order], writes=[rows, order])
        core_group.compute("order of all", cycles=0.0, reads=[tokens], writes=[rows, order], run=sort)
        core_group.wait(core_group.put(rows, arguments["rows"], (0,)), core_group.put(order, arguments["order"], (0,)))
        core_group.free(*tiles)
