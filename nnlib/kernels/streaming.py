"""The frame of all memory-bound kernels: stream operands through the LDM, double-buffered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import InfeasiblePlan, check_fits
from sim.chip.dma import Direction, Integers, Requests
from sim.chip.ldm import VECTOR_ALIGNMENT, aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile
from sim.machine.spec import CpeSpec, ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Start, Transfer

Cycles = float | Sequence[float]
Run = Callable[[Sequence[Array], Sequence[Array]], object]
RunAt = Callable[[int, Sequence[Array], Sequence[Array]], object]
"""As :data:`Run`, of the iteration with this number: for what depends on where its operands lie."""


@dataclass(frozen=True)
class Operand:
    """One array of a stream: ``size`` elements per CPE and iteration, from ``start(iteration)``.

    ``found``: where they really are, if data decide it; times do not depend on data, and ``start`` is then where they
    are taken to be.
    """

    array: MemoryArray
    size: tuple[int, ...]
    start: Callable[[int], Start]
    split: Split | None
    found: Callable[[int], Integers] | None = None


@dataclass(frozen=True)
class Rows:
    """A split of ``rows`` rows: ``per_cpe`` rows for each CPE in each of ``iterations``."""

    rows: int
    per_cpe: int
    iterations: int
    cpes: int

    def operand(self, array: MemoryArray, *, columns: range | None = None) -> Operand:
        """``array`` split along its first axis; of a matrix only ``columns``, if given."""
        size = (self.per_cpe, *array.shape[1:])
        rest = (0,) * (len(array.shape) - 1)
        if columns is not None:
            size, rest = (self.per_cpe, len(columns)), (columns.start,)
        return Operand(
            array=array,
            size=size,
            start=lambda i: (i * self.per_cpe * self.cpes, *rest),
            split=Split(rows=0, columns=0),
        )

    def copies(self, array: MemoryArray) -> Operand:
        """``array`` (count, rows) split along its second axis; every CPE gets all copies of its rows."""
        return Operand(
            array=array,
            size=(array.shape[0], self.per_cpe),
            start=lambda i: (0, i * self.per_cpe * self.cpes),
            split=Split(rows=1, columns=1),
        )

    def cycles(self, body: Body, cpe: CpeSpec, *, row_elements: int = 1) -> Callable[[int], Cycles]:
        """Cycles per CPE of a streaming loop with ``body`` over its rows of each iteration."""

        def of(iteration: int) -> list[float]:
            return [
                stream_cycles(cpe=cpe, body=body, elements=count * row_elements) if count else 0.0
                for count in self.counts(iteration)
            ]

        return of

    @property
    def whole(self) -> range:
        """The iterations in which every CPE has ``per_cpe`` rows."""
        return range(self.rows // (self.per_cpe * self.cpes))

    def counts(self, iteration: int) -> list[int]:
        """Rows that each CPE really has in an iteration."""
        first = iteration * self.per_cpe * self.cpes
        return [int(each) for each in np.clip(self.rows - first - np.arange(self.cpes) * self.per_cpe, 0, self.per_cpe)]


def plan_rows(*, kernel: str, rows: int, row_bytes: Sequence[int], resident: int, processor: ProcessorSpec) -> Rows:
    """Rows per CPE and iteration, as many as fit twice beside ``resident`` bytes.

    ``row_bytes``: bytes of a row in each operand. Raises InfeasiblePlan if one row does not fit.
    """
    cpes = processor.cpes_per_core_group
    room = processor.cpe.ldm_bytes - resident - 2 * len(row_bytes) * VECTOR_ALIGNMENT
    fitting = room // (2 * sum(row_bytes))
    if fitting < 1:
        needed = resident + 2 * sum(aligned(each) for each in row_bytes)
        if needed > processor.cpe.ldm_bytes:
            raise InfeasiblePlan(kernel=kernel, needed=needed, available=processor.cpe.ldm_bytes)
        fitting = 1
    per_cpe = min(fitting, -(-rows // cpes))
    return Rows(rows=rows, per_cpe=per_cpe, iterations=-(-rows // (per_cpe * cpes)), cpes=cpes)


def column_blocks(columns: int, *, needed: Callable[[int], int], kernel: str, processor: ProcessorSpec) -> list[range]:
    """As few equal blocks of columns as make ``needed(width)`` bytes of LDM fit.

    Raises InfeasiblePlan if a single column does not fit.
    """
    check_fits(kernel=kernel, needed=needed(1), processor=processor)
    blocks = 1
    while needed(-(-columns // blocks)) > processor.cpe.ldm_bytes:
        blocks += 1
    width = -(-columns // blocks)
    return [range(first, min(first + width, columns)) for first in range(0, columns, width)]


def stream(
    core_group: CoreGroup,
    label: str,
    *,
    iterations: int,
    inputs: Sequence[Operand],
    outputs: Sequence[Operand],
    cycles: Callable[[int], Cycles],
    run: Run | None = None,
    run_at: RunAt | None = None,
    flops: int = 0,
    whole: range | None = None,
    period: int = 1,
    resident: Sequence[Tile] = (),
    accumulators: Sequence[Tile] = (),
) -> None:
    """Get the inputs, compute, put the outputs, with two buffers each: the next get runs under the compute.

    ``whole``: the iterations in which every CPE has as much to do as in any other, its operands ``period`` iterations
    later lying further on by the same number of bytes. ``run(inputs, outputs)``, or ``run_at`` with the iteration
    before these, gets the tiles' arrays. ``resident`` tiles are read and ``accumulators`` written by it.
    """
    ins = [_Buffers(core_group, f"in{number}", operand) for number, operand in enumerate(inputs)]
    outs = [_Buffers(core_group, f"out{number}", operand) for number, operand in enumerate(outputs)]
    steady = None
    if whole is not None:  # the next iteration's get is another's, and so is the wait for the last but one's put
        steady = range(max(whole.start, 2), min(whole.stop, iterations) - 1)
    under_way = [each.get(0) for each in ins]
    puts: deque[list[Transfer]] = deque()

    def ahead(iteration: int) -> Hashable:
        """The same requests: equal ones are one object."""
        gets = (each.requests("get", iteration + 1) for each in ins)
        return tuple(map(id, (*gets, *(each.requests("put", iteration) for each in outs))))

    for iteration in core_group.loop(label, iterations, steady=steady, period=period, ahead=ahead):
        following = [each.get(iteration + 1) for each in ins] if iteration + 1 < iterations else []
        core_group.wait(*under_way)
        under_way = following
        if len(puts) == 2:
            core_group.wait(*puts.popleft())
        sources = [each.tile(iteration) for each in ins]
        targets = [each.tile(iteration) for each in outs]

        def numerics(
            sources: Sequence[Tile] = sources, targets: Sequence[Tile] = targets, iteration: int = iteration
        ) -> None:
            arrays = [tile.values() for tile in sources], [tile.values() for tile in targets]
            if run_at is not None:
                run_at(iteration, *arrays)
            elif run is not None:
                run(*arrays)

        core_group.compute(
            label,
            cycles=partial(cycles, iteration),
            reads=[*sources, *resident],
            writes=[*targets, *accumulators],
            flops=flops if iteration == 0 else 0,
            run=numerics,
        )
        puts.append([each.put(iteration) for each in outs])
    for remaining in puts:
        core_group.wait(*remaining)
    core_group.free(*(tile for each in (*ins, *outs) for tile in each.tiles))


class _Buffers:
    """The two LDM buffers of an operand."""

    def __init__(self, core_group: CoreGroup, name: str, operand: Operand) -> None:
        self.core_group = core_group
        self.operand = operand
        self.tiles = [
            core_group.alloc(f"{name}.{i}", size=operand.size, dtype=operand.array.dtype, split=operand.split)
            for i in range(2)
        ]

    def tile(self, iteration: int) -> Tile:
        return self.tiles[iteration % 2]

    def requests(self, direction: Direction, iteration: int) -> Requests:
        """What a transfer of an iteration asks of the memory."""
        return self.core_group.asked(direction, self.tile(iteration), self.operand.array, self.operand.start(iteration))

    def get(self, iteration: int) -> Transfer:
        transfer = self.core_group.get(self.tile(iteration), self.operand.array, self.operand.start(iteration))
        return self.placed(transfer, iteration)

    def put(self, iteration: int) -> Transfer:
        transfer = self.core_group.put(self.tile(iteration), self.operand.array, self.operand.start(iteration))
        return self.placed(transfer, iteration)

    def placed(self, transfer: Transfer, iteration: int) -> Transfer:
        """To or from where the data say, in runs that have data."""
        if self.operand.found is not None and self.core_group.numerics:
            transfer.start = self.operand.found(iteration)
        return transfer
