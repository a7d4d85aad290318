"""Per-CPE programs: 64 independent generators on SimPy, in the style of athread.

What students write first, and the reference that the core group's scheduler is tested against, cycle for cycle. A
program is a generator function of one :class:`Cpe`; everything that takes simulated time is used with ``yield from``:

    def program(cpe: Cpe) -> Program:
        buffer = cpe.alloc("x", size=(64,), dtype=x.dtype)
        transfer = yield from cpe.get(buffer, x, (cpe.id * 64,))
        yield from cpe.wait(transfer)
        yield from cpe.compute(100)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import simpy

from sim.chip.counters import REASONS, KernelTiming
from sim.chip.cpe_group import CpeGroup, Meeting, Steps
from sim.chip.dma import Box, Direction, count
from sim.chip.errors import Deadlock, UnfinishedTransfer
from sim.chip.global_access import GlobalAccess, global_requests
from sim.chip.ldm import Ldm
from sim.chip.memory import Array, MemoryArray
from sim.chip.tile import Split, Tile
from sim.chip.transfer import load_region, store_region
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_cycles

Program: TypeAlias = Generator[simpy.Event, Any, None]
Starts: TypeAlias = Callable[[int], Sequence[int]]
"""From a CPE's number to where its block begins."""


@dataclass(eq=False)
class CpeTransfer:
    """A CPE's transfer under way; ``done`` is None if nothing of its box lies inside the array."""

    direction: Direction
    buffer: Tile
    array: MemoryArray
    start: tuple[int, ...]
    done: simpy.Event | None
    outgoing: Array | None = None
    waited: bool = False


class Cpe:
    """One CPE: its place, its LDM, its clock and where its time went."""

    def __init__(self, group: CpeGroup, number: int) -> None:
        self.group = group
        self.id = number
        self.row, self.column = divmod(number, group.processor.mesh.columns)
        self.ldm = Ldm(capacity=group.processor.cpe.ldm_bytes, owner=f"CPE ({self.row}, {self.column}): ")
        self.reasons = dict.fromkeys(REASONS, 0)
        self.doing = "start"
        self.finish: int | None = None
        self.incomplete: list[simpy.Event] = []
        self.transfers: list[CpeTransfer] = []

    def alloc(self, name: str, *, size: Sequence[int], dtype: np.dtype[np.floating]) -> Tile:
        """An LDM buffer filled with NaN. Raises LdmOverflow."""
        buffer = Tile(name=name, size=tuple(size), dtype=dtype, split=Split(), mesh=(1, 1))
        self.ldm.allocate(name=name, size=buffer.bytes_per_cpe)
        buffer.scratch()
        return buffer

    def get(self, buffer: Tile, array: MemoryArray, start: Sequence[int] | Starts) -> Steps[CpeTransfer]:
        """Start a transfer into ``buffer``; what lies outside the array comes in as zeros.

        ``start``: where the block begins; where all CPEs transfer a block, a function from a CPE's number to that:
        blocks that lie side by side come together.
        """
        buffer.check_writable(by=f"get of {array.name!r} by CPE {self.id}")
        buffer.state = "filling"
        buffer.scratch()
        return (yield from self._transfer("get", buffer, array, start))

    def put(self, buffer: Tile, array: MemoryArray, start: Sequence[int] | Starts) -> Steps[CpeTransfer]:
        """Start a transfer to memory, as :meth:`get` does; the buffer is spent."""
        buffer.check_readable(by=f"put to {array.name!r} by CPE {self.id}")
        buffer.state = "draining"
        transfer = yield from self._transfer("put", buffer, array, start)
        transfer.outgoing = buffer.values()
        buffer.scratch()
        return transfer

    def wait(self, transfer: CpeTransfer) -> Steps[None]:
        """Wait until the transfer is complete: data arrive, or reach memory, here."""
        transfer.waited = True
        if transfer.done is not None:
            begin = self.now
            buffer = f"LDM buffer {transfer.buffer.name!r} ({transfer.buffer.bytes_per_cpe} B)"
            self.doing = f"wait for the {transfer.direction} of {transfer.array.name!r}, {buffer}"
            done = yield transfer.done
            left = done + self.group.ticks.startup - self.now
            if left > 0:
                yield self.group.env.timeout(left)
            self.reasons["dma_wait"] += self.now - begin
        memory = transfer.array.data
        assert memory is not None
        if transfer.direction == "get":
            transfer.buffer.state = "ready"
            load_region(target=transfer.buffer.values(), source=memory, start=transfer.start)
        else:
            transfer.buffer.state = "fresh"
            assert transfer.outgoing is not None
            store_region(target=memory, source=transfer.outgoing, start=transfer.start)

    def global_load(
        self, buffer: Tile, array: MemoryArray, start: Sequence[int], *, times: int = 1, width: int = 1
    ) -> Steps[None]:
        """Load ``buffer`` from memory without DMA, ``width`` elements an access, waiting for each; ``times`` over."""
        buffer.check_writable(by=f"load of {array.name!r} by CPE {self.id}")
        group = self.group
        access = GlobalAccess(buffer, array, np.array([start], dtype=np.int64), times, width)
        access.check_aligned(kernel=f"program of CPE ({self.row}, {self.column}), ")
        cost = global_requests(
            direction="get",
            accesses=(access,),
            latency=ticks_from_cycles(group.processor.memory.global_load_cycles),
            factors=(1.0,),
            ticks=group.ticks,
        )
        if cost.lines[0]:
            begin = self.now
            self.doing = f"load of {array.name!r} into {buffer.name!r}"
            yield group.engine.submit(
                cpe=self.id,
                lines=int(cost.lines[0]),
                quantum=int(cost.quantum[0]),
                first=int(cost.first[0]),
                channel=int(cost.channel[0]),
            )
            self.reasons["dma_wait"] += self.now - begin
            group.moved["get"] += int(cost.bytes[0])
            group.moved["lines"] += int(cost.lines[0])
        buffer.state = "ready"
        assert array.data is not None
        load_region(target=buffer.values(), source=array.data, start=tuple(start))

    def compute(self, cycles: float, *, run: Callable[[], object] | None = None) -> Steps[None]:
        """Compute for ``cycles``; ``run`` does the numerics."""
        ticks = ticks_from_cycles(cycles)
        if run is not None:
            run()
        if ticks:
            yield self.group.env.timeout(ticks)
            self.reasons["compute"] += ticks

    def row_broadcast(self, root: int, value: Any) -> Steps[Any]:
        """Register communication along the row: everyone gets the value of the CPE in column ``root``."""
        own = value if self.column == root else None
        return (yield from self._meet(self.group.rows[self.row], own, "mesh", f"row broadcast from column {root}"))

    def column_broadcast(self, root: int, value: Any) -> Steps[Any]:
        """Register communication along the column: everyone gets the value of the CPE in row ``root``."""
        own = value if self.row == root else None
        meeting = self.group.columns[self.column]
        return (yield from self._meet(meeting, own, "mesh", f"column broadcast from row {root}"))

    def sync(self) -> Steps[None]:
        """All CPEs wait for one another."""
        yield from self._meet(self.group.everyone, None, "sync", "sync")

    @property
    def buffers(self) -> str:
        """Its LDM buffers and their bytes, in words."""
        return "LDM: " + (", ".join(f"{name!r} {size} B" for name, size in self.ldm.live.items()) or "no buffers")

    @property
    def now(self) -> int:
        """The clock, in ticks."""
        return int(self.group.env.now)

    def _meet(self, meeting: Meeting, value: Any, reason: str, doing: str) -> Steps[Any]:
        begin = self.now
        self.doing = doing
        found = yield from meeting.join(value)
        self.reasons[reason] += self.now - begin
        return found

    def _transfer(
        self, direction: Direction, buffer: Tile, array: MemoryArray, start: Sequence[int] | Starts
    ) -> Steps[CpeTransfer]:
        group = self.group
        starts = [start(cpe) for cpe in range(group.processor.cpes_per_core_group)] if callable(start) else [start]
        own = self.id if callable(start) else 0
        box = Box(array=array, size=buffer.size, starts=np.array(starts, dtype=np.int64))
        cost = count(box=box, direction=direction, dma=group.processor.dma, ticks=group.ticks)
        lines = int(cost.lines[own])
        done = None
        if lines:
            issue = int(cost.descriptors[own]) * group.ticks.issue
            yield group.env.timeout(issue)
            self.reasons["dma_issue"] += issue
            yield from self._slot()
            done = group.engine.submit(
                cpe=self.id,
                lines=lines,
                quantum=int(cost.quantum[own]),
                first=int(cost.first[own]),
                channel=int(cost.channel[own]),
            )
            self.incomplete.append(done)
            group.moved[direction] += int(cost.bytes[own])
            group.moved["lines"] += lines
            group.moved["requests"] += int(cost.descriptors[own])
        transfer = CpeTransfer(direction, buffer, array, tuple(starts[own]), done)
        self.transfers.append(transfer)
        return transfer

    def _slot(self) -> Steps[None]:
        """Wait until the channel has room for one more request."""
        begin = self.now
        self.doing = "wait for a free slot of the DMA channel"
        while True:
            self.incomplete = [done for done in self.incomplete if not done.triggered]
            if len(self.incomplete) < self.group.processor.dma.pending_per_cpe:
                break
            yield simpy.AnyOf(self.group.env, self.incomplete)
        self.reasons["dma_queue"] += self.now - begin


def run_programs(
    program: Callable[[Cpe], Program], *, processor: ProcessorSpec, start: Sequence[int] | None = None
) -> KernelTiming:
    """Run ``program`` on every CPE of a core group from its clock in ``start`` (ticks, default 0).

    Raises Deadlock, naming CPEs and what they wait in, if some never end; UnfinishedTransfer if one ends with a
    transfer that it never waited for.
    """
    group = CpeGroup(processor)
    cpes = [Cpe(group, number) for number in range(processor.cpes_per_core_group)]

    def life(cpe: Cpe, begin: int) -> Program:
        cpe.reasons["idle"] += begin
        yield group.env.timeout(begin)
        yield from program(cpe)
        cpe.finish = cpe.now

    for number, cpe in enumerate(cpes):
        group.env.process(life(cpe, 0 if start is None else start[number]))
    group.env.run()
    stuck = [cpe for cpe in cpes if cpe.finish is None]
    if stuck:
        waits = "; ".join(f"CPE ({cpe.row}, {cpe.column}) in {cpe.doing}, {cpe.buffers}" for cpe in stuck[:4])
        raise Deadlock(f"kernel {program.__name__!r}: {len(stuck)} CPEs wait for ever: {waits}")
    for cpe in cpes:
        forgotten = [transfer for transfer in cpe.transfers if not transfer.waited]
        if forgotten:
            names = ", ".join(f"{each.direction} of {each.array.name!r}" for each in forgotten)
            raise UnfinishedTransfer(f"CPE {cpe.id} ends without waiting for {names}")
    return _timing(group, cpes)


def _timing(group: CpeGroup, cpes: Sequence[Cpe]) -> KernelTiming:
    finish = tuple(cpe.finish or 0 for cpe in cpes)
    total = max(finish)
    for cpe, end in zip(cpes, finish, strict=True):
        cpe.reasons["idle"] += total - end
    return KernelTiming(
        ticks=total,
        finish=finish,
        reasons={reason: tuple(cpe.reasons[reason] for cpe in cpes) for reason in REASONS},
        get_bytes=group.moved["get"],
        put_bytes=group.moved["put"],
        dma_lines=group.moved["lines"],
        dma_requests=group.moved["requests"],
        flops=0,
        ldm_high_water=max(cpe.ldm.high_water for cpe in cpes),
    )
