"""Times a trace: 64 clocks, one DMA server, events in the order of time.

Every CPE runs ahead on its own clock through what concerns only itself. What others can feel, the arrival of a DMA
request, is taken in order of (time, CPE) from one heap, so that CPEs that drift apart meet the engine in the right
order. :mod:`sim.chip.cpe_program` is the event-by-event reference.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from sim.chip.counters import REASONS, Interval, KernelTiming
from sim.chip.dma import DmaTicks
from sim.chip.dma_server import Completion, DmaServer
from sim.chip.errors import Deadlock, LimitReached
from sim.chip.program import (
    ColumnBroadcast,
    Compute,
    DmaStart,
    DmaWait,
    MeshSteps,
    RowBroadcast,
    Sync,
    Ticks,
    Trace,
)
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_cycles

FOREVER = 1 << 62
CHECK_OPERATIONS = 64
"""Operations between two looks at a limit."""


def schedule(
    *, trace: Trace, processor: ProcessorSpec, start: Sequence[int] | None = None, record: bool = False
) -> KernelTiming:
    """Time of a whole ``trace`` on one core group.

    ``start`` gives each CPE's clock at launch in ticks (default 0); with ``record`` every interval is kept.
    Raises :class:`~sim.chip.errors.Deadlock` if CPEs wait for one another for ever.
    """
    return Scheduler(trace=trace, processor=processor, start=start, record=record).finish()


@dataclass
class _Group:
    """CPEs that meet in a rendezvous: how many have come and when."""

    members: range
    arrived: dict[int, int] = field(default_factory=dict)


class Scheduler:
    """State of one scheduling run, of a trace that may still grow: see :meth:`advance`."""

    def __init__(
        self,
        *,
        trace: Trace,
        processor: ProcessorSpec,
        start: Sequence[int] | None = None,
        record: bool = False,
        limit: int | None = None,
    ) -> None:
        mesh = processor.mesh
        self.operations = trace.operations
        self.trace = trace
        self.cpes = mesh.rows * mesh.columns
        self.columns = mesh.columns
        self.ticks = DmaTicks.of(processor)
        self.pending_limit = processor.dma.pending_per_cpe
        self.latency = ticks_from_cycles(mesh.latency_cycles)
        self.sync_ticks = ticks_from_cycles(mesh.sync_cycles)
        self.record = record
        self.limit = limit  # ticks beyond which nobody wants to know
        self.next_check = CHECK_OPERATIONS  # operations after which to look at the limit
        self.intervals: list[Interval] = []
        self.reasons = {reason: [0] * self.cpes for reason in REASONS}
        self.skipped_ticks = 0  # of the periods that were not simulated
        self.server = DmaServer(
            bus_of=[cpe % self.columns // processor.dma.columns_per_bus for cpe in range(self.cpes)],
            bus_lines=self.ticks.bus_lines,
        )
        self.heap: list[tuple[int, int, int]] = []  # (time, CPE, generation)
        self.generation = [0] * self.cpes  # resumptions so far: an entry of an older one is stale
        self.position = [0] * self.cpes
        self.issued = [False] * self.cpes  # the next operation is a DMA start whose issue is paid
        self.queued_since: list[int | None] = [None] * self.cpes
        self.waiting: list[tuple[int, int] | None] = [None] * self.cpes  # (handle, since)
        self.in_flight: list[list[int]] = [[] for _ in range(self.cpes)]  # completion ticks, FOREVER if unknown
        self.finished: dict[tuple[int, int], int] = {}  # (handle, CPE) -> completion
        self.started: set[tuple[int, int]] = set()
        self.all = _Group(range(self.cpes))
        self.row_groups = [_Group(range(r * self.columns, (r + 1) * self.columns)) for r in range(mesh.rows)]
        self.column_groups = [_Group(range(c, self.cpes, self.columns)) for c in range(self.columns)]
        self.ended = False  # no more operations will come
        self.finish_times: list[int | None] = [None] * self.cpes
        for cpe, time in enumerate(start or [0] * self.cpes):
            self.wake(cpe, time)
            self.spend(cpe, 0, time, "idle", "start")

    def advance(self) -> int | None:
        """Simulate until the CPE whose turn it is has come to the end of the trace; its time, None if all wait.

        What happens is the same as if the rest of the trace had been there from the beginning: a CPE that could go on
        keeps its place in the order of time until there are more operations.
        """
        heap, server, last = self.heap, self.server, len(self.operations)
        while True:
            completion = server.advance(heap[0][0] if heap else FOREVER)
            if completion is not None:
                self.complete(completion)
            elif heap:
                time, cpe, generation = heap[0]
                current = generation == self.generation[cpe]
                if current and self.position[cpe] == last and not self.ended:
                    return time
                heapq.heappop(heap)
                if current:
                    self.generation[cpe] += 1
                    self.step(cpe, time)
            else:
                return None

    def check_limit(self) -> None:
        """Simulate what there is, now and then. Raises LimitReached if that alone takes longer than ``limit``."""
        if self.limit is not None and len(self.operations) >= self.next_check:
            self.next_check = len(self.operations) + CHECK_OPERATIONS
            now = self.advance()
            if now is not None and now + self.skipped_ticks > self.limit:
                raise LimitReached(f"more than {self.limit} ticks")

    def finish(self) -> KernelTiming:
        """Simulate to the end of the trace, which is complete. Raises Deadlock."""
        self.ended = True
        self.advance()
        self.check_finished()
        return self.timing()

    def wake(self, cpe: int, time: int) -> None:
        """Resume ``cpe`` at ``time``, unless something else resumes it earlier."""
        heapq.heappush(self.heap, (time, cpe, self.generation[cpe]))

    def spend(self, cpe: int, start: int, end: int, reason: str, label: str) -> None:
        """CPE ``cpe`` was busy or waiting from ``start`` to ``end``."""
        if end > start:
            self.reasons[reason][cpe] += end - start
            if self.record:
                self.intervals.append(Interval(cpe, start, end, reason, label))

    def step(self, cpe: int, time: int) -> None:
        """Run ``cpe`` from ``time`` until it ends, waits, or must be ordered against others."""
        operations = self.operations
        position = self.position[cpe]
        while position < len(operations):
            operation = operations[position]
            if isinstance(operation, Compute):
                end = time + _of(operation.ticks, cpe)
                self.spend(cpe, time, end, "compute", operation.label)
                time = end
            elif isinstance(operation, DmaStart):
                if operation.requests.per_cpe[cpe][1] and not self.start(cpe, time, operation):
                    self.position[cpe] = position
                    return
            elif isinstance(operation, DmaWait):
                key = (operation.handle, cpe)
                if key in self.started:
                    done = self.finished.pop(key, None)
                    if done is None:
                        self.waiting[cpe] = (operation.handle, time)
                        self.position[cpe] = position
                        return
                    self.started.remove(key)
                    startup = self.ticks.startup if operation.startup is None else operation.startup
                    end = max(time, done + startup)
                    self.spend(cpe, time, end, "dma_wait", operation.label)
                    time = end
            else:
                self.position[cpe] = position + 1
                self.meet(cpe, time, operation)
                return
            position += 1
        self.position[cpe] = position
        if self.ended:
            self.finish_times[cpe] = time
        else:
            self.wake(cpe, time)

    def start(self, cpe: int, time: int, operation: DmaStart) -> bool:
        """Issue the request or bring it to the engine; False if the CPE has to come back."""
        descriptors, lines, quantum, first, channel = operation.requests.per_cpe[cpe]
        if not self.issued[cpe]:
            end = time + descriptors * self.ticks.issue
            self.spend(cpe, time, end, "dma_issue", operation.label)
            self.issued[cpe] = True
            self.wake(cpe, end)
            return False
        since = self.queued_since[cpe]
        if since is None:
            flights = self.in_flight[cpe] = [end for end in self.in_flight[cpe] if end > time]
            if len(flights) >= self.pending_limit:
                self.queued_since[cpe] = time
                known = min(flights)
                if known < FOREVER:
                    self.wake(cpe, known)
                return False
        else:
            self.in_flight[cpe] = [end for end in self.in_flight[cpe] if end > time]
            self.queued_since[cpe] = None
            self.spend(cpe, since, time, "dma_queue", operation.label)
        self.issued[cpe] = False
        self.started.add((operation.handle, cpe))
        self.in_flight[cpe].append(FOREVER)
        self.server.add(
            time=time,
            cpe=cpe,
            handle=operation.handle,
            lines=lines,
            quantum=quantum,
            first=first,
            channel=channel,
        )
        return True

    def complete(self, completion: Completion) -> None:
        """A request left the engine: free the CPE's slot and wake it if it waits for this."""
        cpe, time = completion.cpe, completion.time
        self.in_flight[cpe].remove(FOREVER)
        self.in_flight[cpe].append(time)
        self.finished[(completion.handle, cpe)] = time
        waiting = self.waiting[cpe]
        if waiting is not None and waiting[0] == completion.handle:
            self.waiting[cpe] = None
            self.wake(cpe, waiting[1])
        elif self.queued_since[cpe] is not None:
            self.wake(cpe, time)

    def meet(self, cpe: int, time: int, operation: RowBroadcast | ColumnBroadcast | Sync | MeshSteps) -> None:
        """``cpe`` comes to a rendezvous; the last to come releases all."""
        match operation:
            case RowBroadcast():
                group = self.row_groups[cpe // self.columns]
            case ColumnBroadcast():
                group = self.column_groups[cpe % self.columns]
            case Sync() | MeshSteps():
                group = self.all
            case _:
                assert_never(operation)
        group.arrived[cpe] = time
        if len(group.arrived) < len(group.members):
            return
        arrived, group.arrived = group.arrived, {}
        last = max(arrived.values())
        for member, came in arrived.items():
            if isinstance(operation, MeshSteps):
                left = self.mesh_steps(member, came, last, operation)
            elif isinstance(operation, Sync):
                left = last + self.sync_ticks
                self.spend(member, came, left, "sync", operation.label)
            else:
                left = last + self.latency
                self.spend(member, came, left, "mesh", operation.label)
            self.wake(member, left)

    def mesh_steps(self, cpe: int, came: int, last: int, operation: MeshSteps) -> int:
        """When ``cpe`` leaves: a row and a column broadcast tie all clocks, then all compute equally long."""
        steps, ticks = operation.steps, operation.ticks
        left = last + steps * 2 * self.latency + ticks
        self.reasons["compute"][cpe] += ticks
        self.reasons["mesh"][cpe] += left - came - ticks
        if self.record:
            for step in range(steps):
                begin = last + (step + 1) * 2 * self.latency + step * ticks // steps
                self.intervals.append(Interval(cpe, came, begin, "mesh", operation.label))
                came = last + (step + 1) * 2 * self.latency + (step + 1) * ticks // steps
                self.intervals.append(Interval(cpe, begin, came, "compute", operation.label))
        return left

    def check_finished(self) -> None:
        """Raise Deadlock, naming who waits where, unless every CPE reached its end."""
        stuck = [cpe for cpe, end in enumerate(self.finish_times) if end is None]
        if stuck:
            waits = [
                f"CPE ({cpe // self.columns}, {cpe % self.columns}) in {self.label_before(cpe)}" for cpe in stuck[:4]
            ]
            kernel = f"kernel {self.trace.kernel!r}: " if self.trace.kernel else ""
            raise Deadlock(f"{kernel}{len(stuck)} CPEs wait for ever: {'; '.join(waits)}")

    def label_before(self, cpe: int) -> str:
        operation = self.operations[max(0, self.position[cpe] - 1)]
        return f"{type(operation).__name__} {operation.label!r}"

    def timing(self) -> KernelTiming:
        finish = tuple(end for end in self.finish_times if end is not None)
        last = max(finish, default=0)
        for cpe, end in enumerate(finish):
            self.spend(cpe, end, last, "idle", "end")
        totals = self.trace.totals
        return KernelTiming(
            ticks=last + self.skipped_ticks,
            finish=tuple(end + self.skipped_ticks for end in finish),
            reasons={reason: tuple(values) for reason, values in self.reasons.items()},
            get_bytes=totals.get_bytes,
            put_bytes=totals.put_bytes,
            dma_lines=totals.dma_lines,
            dma_requests=totals.dma_requests,
            flops=totals.flops,
            ldm_high_water=self.trace.ldm_high_water,
            loops=tuple(self.trace.loops.values()),
            intervals=tuple(self.intervals),
        )


def _of(ticks: Ticks, cpe: int) -> int:
    return ticks if isinstance(ticks, int) else ticks[cpe]
