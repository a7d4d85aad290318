"""Exact fast-forward: a loop whose machine state repeats is not simulated a second time.

At a loop's head everything that can still have an effect is written down relative to the clock of the CPE whose turn
it is: clocks, requests in the engine with their remaining lines, completions not yet waited for, who has arrived at a
rendezvous, how far each CPE is behind the end of the trace, and the operations that lie there. Where all that and the
last period's operations (with address phases, through the identity of their costs) were the same at an earlier
head, what follows is the same too, time and counters included. Skipping is not an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import lcm
from typing import Final, NamedTuple

from sim.chip.dma_server import Outstanding
from sim.chip.program import Compute, DmaStart, DmaWait, MeshSteps, Operation, Totals
from sim.chip.scheduler import FOREVER, Scheduler

State = tuple[object, ...]

BUFFERS: Final = 2
"""Periods are a multiple of this where nothing else is said: programs use two buffers in turn."""
PATIENCE: Final = 48
"""Heads, beyond two periods, without a repetition after which a loop is simulated plainly."""


@dataclass(frozen=True)
class Head:
    """What was reached at a loop's head."""

    iteration: int
    time: int
    reasons: tuple[list[int], ...]
    totals: Totals


class Lengths(NamedTuple):
    """How much of the trace there was at a head: operations, notes of skipped periods, transfers."""

    operations: int
    skipped: int
    transfers: int


@dataclass
class Forward:
    """Watches the heads of one run of ``loop`` in the iterations ``steady``, which take ``buffers`` in turn.

    ``found``: after how many iterations it repeats, once known.
    """

    scheduler: Scheduler
    loop: str
    steady: range
    period: int = 1
    buffers: int = BUFFERS
    found: int | None = None
    heads: dict[tuple[int, State], Head] = field(default_factory=dict)
    emitted: list[Lengths] = field(default_factory=list)
    given_up: bool = False

    def skip(self, iteration: int) -> int:
        """Called at the head of ``iteration``: how many iterations to leave out, their time and counters added."""
        if self.given_up:
            return 0
        scheduler, trace = self.scheduler, self.scheduler.trace
        now = scheduler.advance()
        self.emitted.append(Lengths(len(trace.operations), len(trace.skipped), trace.transfers))
        if now is None or len(self.emitted) <= self.period:
            return 0
        # all phases of addresses show only in a whole period
        before = self.emitted[-1 - self.period]
        step = lcm(self.buffers, self.period)
        state = iteration % step, relative_state(scheduler, now=now, since=before)
        head = head_of(scheduler, iteration, now=now)
        earlier = self.heads.setdefault(state, head)
        if earlier is head:
            self.given_up = len(self.heads) > PATIENCE + 2 * step
            return 0
        self.found = iteration - earlier.iteration
        self.given_up = True
        times = (self.steady.stop - iteration) // self.found
        if times:
            repeat(scheduler, earlier, head, times, loop=self.loop)
        return times * self.found


def head_of(scheduler: Scheduler, iteration: int, *, now: int) -> Head:
    """What is reached at the head of ``iteration``."""
    return Head(
        iteration=iteration,
        time=now + scheduler.skipped_ticks,
        reasons=tuple(values.copy() for values in scheduler.reasons.values()),
        totals=replace(scheduler.trace.totals),
    )


def repeat(scheduler: Scheduler, earlier: Head, head: Head, times: int, *, loop: str) -> None:
    """Add what happened between two heads of ``loop``, ``times`` over, and note it."""
    scheduler.skipped_ticks += times * (head.time - earlier.time)
    for values, now, then in zip(scheduler.reasons.values(), head.reasons, earlier.reasons, strict=True):
        for cpe in range(len(values)):
            values[cpe] += times * (now[cpe] - then[cpe])
    scheduler.trace.totals.add(head.totals.since(earlier.totals), times=times)
    scheduler.trace.skipped.append((len(scheduler.trace.operations), loop, times))


def relative_state(scheduler: Scheduler, *, now: int, since: Lengths) -> State:
    """All that what follows depends on, relative to the time ``now`` and to the end of the trace.

    ``since``: the trace at the loop's head one period before. Transfers begun since then are known by how many came
    after them. Those begun before and not waited for are no part of what repeats: they are known by their order.
    """
    trace, server = scheduler.trace, scheduler.server
    last, numbers = len(trace.operations), trace.transfers
    oldest = min(scheduler.position)
    startup = scheduler.ticks.startup
    busy = bool(server.ring) or server.current is not None
    generation = scheduler.generation
    older = sorted({handle for handle, _ in scheduler.started if handle < since.transfers})
    names = {handle: -1 - rank for rank, handle in enumerate(older)}

    def name(handle: int) -> int:
        return names.get(handle, numbers - handle)

    def request(each: Outstanding) -> State:
        left = max(each.channel_end - now, 0)
        return each.cpe, name(each.handle), each.turns, each.quantum, each.first, left

    return (
        tuple(_content(each, numbers) for each in trace.operations[oldest:]),
        tuple(_content(each, numbers) for each in trace.operations[since.operations :]),
        tuple((last - at, loop, times) for at, loop, times in trace.skipped[since.skipped :]),
        tuple(sorted((time - now, cpe) for time, cpe, mark in scheduler.heap if mark == generation[cpe])),
        tuple(last - position for position in scheduler.position),
        tuple(scheduler.issued),
        tuple(None if time is None else time - now for time in scheduler.queued_since),
        tuple(None if each is None else (name(each[0]), each[1] - now) for each in scheduler.waiting),
        tuple(
            tuple(sorted(end if end == FOREVER else end - now for end in ends if end > now))
            for ends in scheduler.in_flight
        ),
        tuple(
            sorted(
                (name(key[0]), key[1], _left(scheduler.finished.get(key), now - startup)) for key in scheduler.started
            )
        ),
        max(server.free_at - now, 0) if not busy else server.free_at - now,
        tuple(request(each) for each in server.ring),
        None if server.current is None else request(server.current),
        tuple((cpe, tuple(request(each) for each in queue)) for cpe, queue in sorted(server.behind.items()) if queue),
        tuple(sorted((cpe, end - now) for cpe, end in server.channels.items() if end > now)),
        tuple(
            tuple(sorted((cpe, time - now) for cpe, time in group.arrived.items()))
            for group in (scheduler.all, *scheduler.row_groups, *scheduler.column_groups)
        ),
    )


def _content(operation: Operation, numbers: int) -> State:
    """What an operation does. Costs of transfers are known by identity: the same object, the same costs and phase."""
    match operation:
        case Compute(ticks=ticks):
            return "compute", ticks
        case MeshSteps(steps=steps, ticks=ticks):
            return "mesh", steps, ticks
        case DmaStart(handle=handle, requests=requests):
            return "start", id(requests), numbers - handle
        case DmaWait(handle=handle, startup=startup):
            return "wait", numbers - handle, startup
        case _:
            return (type(operation).__name__,)


def _left(end: int | None, now: int) -> int | None:
    """Ticks until ``end``, if that is known."""
    return None if end is None else max(end - now, 0)
