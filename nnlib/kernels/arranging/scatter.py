"""Rows added by number: the gradient of picking rows, from tokens in the order of their rows.

Every CPE takes an equal share of the ordered tokens and adds up the rows of equal ones; a sum goes to memory when the
next token is another. Where a row's tokens go on in the next CPE's share, its part comes back over the mesh, so that
each row is written by one CPE, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.arranging.rows_by_number import Flags, Picks, assumed_rows, rows_at
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, column_blocks, plan_rows, stream
from nnlib.kernels.window import MISSING
from nnlib.ops.embedding import add_rows
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class ScatterAddRows:
    """``total[r]`` = the sum of ``grad[order[i]]`` over all i with ``rows[i] = r``; ``rows`` ascend.

    Times do not depend on data: all tokens are taken to be different, and their rows to lie apart from one another.
    """

    picks: Picks
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "scatter_add_rows"

    def parameters(self) -> tuple[Parameter, ...]:
        picks = self.picks
        return (
            Parameter("rows", (picks.number,), "in"),
            Parameter("order", (picks.number,), "in"),
            Parameter("grad", (picks.number, picks.width), "in"),
            Parameter("total", (picks.height, picks.width), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        rows, order = arrays["rows"].astype(np.int64), arrays["order"].astype(np.int64)
        arrays["total"][...] = add_rows(rows, arrays["grad"][order], self.picks.height)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if a CPE's tokens and a column of rows do not fit the LDM."""
        item = DTYPES[self.dtype].itemsize
        share = -(-self.picks.number // core_group.cpes)
        self.clear(core_group, arguments)
        core_group.sync("all rows are zero")
        for columns in column_blocks(
            self.picks.width,
            needed=lambda width: 2 * aligned(share * item) + 6 * aligned(width * item),
            kernel=self.name,
            processor=core_group.processor,
        ):
            _Adding(self, core_group, arguments, columns, share).run()

    def clear(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Zeros for rows that no token picks."""
        elements = self.picks.height * self.picks.width
        total = arguments["total"].reshape(elements)
        rows = plan_rows(
            kernel=self.name,
            rows=elements,
            row_bytes=[total.dtype.itemsize],
            resident=0,
            processor=core_group.processor,
        )
        stream(
            core_group,
            "clear",
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[],
            outputs=[rows.operand(total)],
            cycles=rows.cycles(Body(stores=1), core_group.cpe),
            run=lambda _, outs: outs[0].fill(0),
        )


class _Adding:
    """A block of columns: the sums under way, those that continue the CPE before (``head``), and the last ones."""

    def __init__(
        self, kernel: ScatterAddRows, core_group: CoreGroup, arguments: Arguments, columns: range, share: int
    ) -> None:
        self.name, self.core_group, self.arguments = kernel.name, core_group, arguments
        self.picks, self.columns, self.share = kernel.picks, columns, share
        self.cpes = core_group.cpes
        dtype, split = DTYPES[kernel.dtype], Split(rows=0, columns=0)
        self.rows, self.order = (
            core_group.alloc(name, size=(share,), dtype=dtype, split=split) for name in ("rows", "order")
        )
        self.sums, self.head = (
            core_group.alloc(name, size=(1, len(columns)), dtype=dtype) for name in ("sums", "head")
        )
        self.begin = np.arange(self.cpes) * share

    def run(self) -> None:
        group, arguments = self.core_group, self.arguments
        group.wait(
            *(group.get(tile, arguments[name], (0,)) for name, tile in (("rows", self.rows), ("order", self.order)))
        )
        width, cpe = len(self.columns), group.cpe
        add = stream_cycles(cpe=cpe, body=Body(loads=2, stores=2, arithmetic=1), elements=width)
        full = self.picks.number - (self.cpes - 1) * self.share
        stream(
            group,
            self.name,
            iterations=self.share,
            whole=range(max(full, 0)),
            inputs=[Operand(arguments["grad"], (1, width), self.assumed(self.picks.number), None, self.taken)],
            outputs=[Operand(arguments["total"], (1, width), self.assumed(self.picks.height), None, self.written)],
            cycles=lambda iteration: np.where(self.busy(iteration), add, 0.0).tolist(),
            run_at=self.add,
            flops=self.picks.number * width,
            resident=[self.rows, self.order],
            accumulators=[self.sums, self.head],
        )
        self.join(add)
        group.free(self.rows, self.order, self.sums, self.head)

    def busy(self, iteration: int) -> Flags:
        """Which CPEs have a token."""
        found: Flags = self.begin + iteration < self.picks.number
        return found

    def assumed(self, height: int) -> _Assumed:
        return _Assumed(self, height)

    def row(self, iteration: int) -> Integers:
        """The row that each CPE's token picks; -1 for no token, before the first one and behind the last."""
        slot = self.begin + iteration
        inside = (slot >= 0) & (slot < self.picks.number)
        rows = self.rows.values()[np.where(inside, slot, 0)].astype(np.int64)
        return np.where(inside, rows, -1)

    def continues(self, iteration: int) -> Flags:
        """Which CPEs' sums began before their share: all their tokens so far pick the row of the token before."""
        found: Flags = self.busy(iteration) & (self.begin > 0) & (self.row(iteration) == self.row(-1))
        return found

    def taken(self, iteration: int) -> Integers:
        """The gradient that each CPE gets."""
        slot = np.where(self.busy(iteration), self.begin + iteration, 0)
        order = self.order.values()[slot].astype(np.int64)
        return rows_at(np.where(self.busy(iteration), order, MISSING), self.columns.start)

    def ends(self, iteration: int) -> Flags:
        """Whose sums are complete: another row follows in the share."""
        following = self.row(iteration + 1)
        if iteration + 1 == self.share:
            return np.zeros(self.cpes, dtype=bool)
        found: Flags = self.busy(iteration) & (following != self.row(iteration)) & (following >= 0)
        return found

    def written(self, iteration: int) -> Integers:
        """The row that each CPE puts, if its sum is complete and its own."""
        own = self.ends(iteration) & ~self.continues(iteration)
        return rows_at(np.where(own, self.row(iteration), MISSING), self.columns.start)

    def add(self, iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        sums, head = self.sums.values(), self.head.values()
        if iteration == 0:
            head[...] = sums[...] = 0
        goes_on = (self.row(iteration) == self.row(iteration - 1)) & (iteration > 0)
        busy = self.busy(iteration)
        sums[busy] = np.where(goes_on[busy, None, None], sums[busy], 0) + ins[0][busy]
        outs[0][...] = sums
        back = self.ends(iteration) & self.continues(iteration)
        head[back] = sums[back]

    def join(self, hop: float) -> None:
        """Parts of sums go back from CPE to CPE, from the last to the first; then each puts its last sum."""
        group = self.core_group
        mesh_rows, mesh_columns = group.mesh
        target = group.alloc("last", size=(1, len(self.columns)), dtype=self.sums.dtype)

        def chain() -> None:
            sums, head, rows = self.sums.values(), self.head.values(), self.rows.values()
            target.values()[...] = sums
            for cpe in range(self.cpes - 1, 0, -1):
                if self.begin[cpe] >= self.picks.number or rows[self.begin[cpe]] != rows[self.begin[cpe] - 1]:
                    continue
                last = min(self.begin[cpe] + self.share, self.picks.number) - 1
                whole = rows[last] == rows[self.begin[cpe]]
                target.values()[cpe - 1] += target.values()[cpe] if whole else head[cpe]

        for row in range(mesh_rows):
            group.row_broadcast(f"parts of sums along row {mesh_rows - 1 - row}")
            group.compute("add parts of sums", cycles=(mesh_columns - 1) * hop, reads=[self.sums, self.head])
            group.column_broadcast("parts of sums to the row before")
        group.compute("last sums", cycles=hop, reads=[self.sums, self.head, self.rows], writes=[target], run=chain)
        put = group.put(target, self.arguments["total"], self.assumed(self.picks.height)(0))
        if group.numerics:
            put.start = self.last_rows()
        group.wait(put)
        group.free(target)

    def last_rows(self) -> Integers:
        """The row of each CPE's last token, unless its sum began in another's share."""
        rows = self.rows.values()
        last = np.minimum(self.begin + self.share, self.picks.number) - 1
        busy = self.begin < self.picks.number
        own = rows[np.where(busy, last, 0)].astype(np.int64)
        before = np.where(self.begin > 0, rows[np.clip(self.begin - 1, 0, len(rows) - 1)], -1)
        return rows_at(np.where(busy & (own != before), own, MISSING), self.columns.start)


@dataclass(frozen=True, eq=False)
class _Assumed:
    """Where rows of an array ``height`` rows high are taken to lie."""

    adding: _Adding
    height: int

    def __call__(self, iteration: int) -> Integers:
        adding = self.adding
        return assumed_rows(adding.cpes, adding.busy(iteration), self.height, adding.columns.start)
