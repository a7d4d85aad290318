"""The DMA engine event by event: one line per turn, one SimPy event per turn.

The reference for :class:`sim.chip.dma_server.DmaServer`, written from the same rules and sharing no code with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy
from simpy.events import EventPriority

AFTER_ALL_OTHERS = EventPriority(2)
"""Priority of a decision among the events of one time; SimPy's own are 0 and 1."""


class _Settled(simpy.Event):
    """Happens now, after everything else that happens now."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, priority=AFTER_ALL_OTHERS)


@dataclass(eq=False)
class Request:
    """A CPE's request that arrived at ``time``: ``lines`` left, the first ``first`` ticks longer than ``quantum``."""

    time: int
    cpe: int
    lines: int
    quantum: int
    first: int
    channel_end: int
    done: simpy.Event


class PlainEngine:
    """Serves the requests that :meth:`submit` brings, one line after the other, each CPE's in order.

    CPEs are numbered row by row over ``columns``; adjacent columns share a bus, and ``bus_lines`` has the
    least ticks of a line for each number of buses in use.
    """

    def __init__(
        self, env: simpy.Environment, *, columns: int, columns_per_bus: int, bus_lines: tuple[int, ...]
    ) -> None:
        self.env = env
        self.columns = columns
        self.columns_per_bus = columns_per_bus
        self.bus_lines = bus_lines
        self.channel_free: dict[int, int] = {}
        self.arrived: list[Request] = []
        self.work = env.event()
        env.process(self.serve())

    def submit(self, *, cpe: int, lines: int, quantum: int, first: int, channel: int) -> simpy.Event:
        """A request arrives now; the event happens when it is complete."""
        end = max(self.channel_free.get(cpe, 0), int(self.env.now)) + channel
        self.channel_free[cpe] = end
        request = Request(int(self.env.now), cpe, lines, quantum, first, end, self.env.event())
        self.arrived.append(request)
        if not self.work.triggered:
            self.work.succeed()
        return request.done

    def serve(self) -> Generator[simpy.Event, Any, None]:
        """Decide, serve one line, decide again."""
        ring: deque[Request] = deque()
        channels: dict[int, deque[Request]] = {}  # behind each CPE's request in the ring
        served: Request | None = None
        while True:
            if not ring and served is None and not self.arrived:
                self.work = self.env.event()
                yield self.work
            yield _Settled(self.env)
            for request in sorted(self.arrived, key=lambda request: (request.time, request.cpe)):
                if request.cpe in channels:
                    channels[request.cpe].append(request)
                else:
                    channels[request.cpe] = deque()
                    ring.append(request)
            self.arrived.clear()
            if served is not None:
                ring.append(served)
            busy = {request.cpe % self.columns // self.columns_per_bus for request in ring}
            head = ring.popleft()
            yield self.env.timeout(max(head.quantum, self.bus_lines[len(busy)]) + head.first)
            head.first = 0
            head.lines -= 1
            served = head
            if head.lines == 0:
                self.env.process(self.complete(head))
                waiting = channels[head.cpe]
                served = waiting.popleft() if waiting else None
                if served is None:
                    del channels[head.cpe]

    def complete(self, request: Request) -> Generator[simpy.Event, Any, None]:
        """The request is complete once its CPE's channel has carried it too."""
        if request.channel_end > self.env.now:
            yield self.env.timeout(request.channel_end - int(self.env.now))
        request.done.succeed(int(self.env.now))
        return
        yield
