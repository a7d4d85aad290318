"""A collective as flows that share links max-min fairly at every moment: the reference for contention.

The rules of :mod:`sim.network.ranks`, but a link is shared by the messages that are on it at that moment, whatever step
they belong to. A message is on its links from the end of its latency until its last byte.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.network.link_use import LinkUse
from sim.network.max_min import max_min_rates
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult, latencies
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule
from sim.network.topology import Topology
from sim.problems import BadInput, Problem

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_NODES: Final = 1024
TOGETHER: Final = 1e-13
"""Moments closer than this part of the time are one."""


@dataclass(frozen=True)
class _Messages:
    """All messages of a schedule in the order of its steps (messages,), and the links each crosses."""

    source: Numbers
    destination: Numbers
    size: Numbers
    step: Numbers
    reduce: NDArray[np.bool_]
    latency: Floats
    paths: Numbers


def run_flows(
    schedule: Schedule,
    *,
    topology: Topology,
    protocol: Protocol,
    reduction: ReductionCost,
    start: Floats,
    item_bytes: int,
) -> CollectiveResult:
    """Run ``schedule`` as :func:`sim.network.ranks.run` does, message by message.

    Raises BadInput for more than 1,024 nodes and ValueError for a topology without contention.
    """
    if topology.nodes > MOST_NODES:
        expected = f"at most {MOST_NODES:,} nodes for single flows; steps of messages have no limit"
        raise BadInput([Problem(file="nodes", key="", value=topology.nodes, expected=expected)])
    if not topology.contention:
        raise ValueError("flows share links: expected a topology with contention")
    messages = _messages(schedule, topology=topology, protocol=protocol, item_bytes=item_bytes)
    flows = _Flows(messages, reduction=reduction, capacity=_capacities(topology), start=start)
    flows.run()
    latency = transfer = adding = 0.0
    for those in _of_each_step(messages.step):
        slowest = those[int((flows.seconds[those] + messages.latency[those]).argmax())]
        latency += float(messages.latency[slowest])
        transfer += float(flows.seconds[slowest])
        adding += max((flows.adding(int(each)) for each in those if messages.reduce[each]), default=0.0)
    return CollectiveResult(
        finish=flows.clocks,
        steps=len(np.unique(messages.step)),
        messages=len(messages.size),
        bytes=int(messages.size.sum()),
        latency_seconds=latency,
        transfer_seconds=transfer,
        reduce_seconds=adding,
        contention="exact",
        links=LinkUse(schedule, topology, item_bytes),
    )


class _Flows:
    """The state at a moment: what each rank waits for, which messages are on their links, and how fast."""

    def __init__(self, messages: _Messages, *, reduction: ReductionCost, capacity: Floats, start: Floats) -> None:
        self.clocks = start.copy()
        self.seconds = np.zeros(len(messages.size))
        self._messages = messages
        self._reduction = reduction
        self._capacity = capacity
        self._programs = _programs(messages, ranks=len(start))
        self._at = [0] * len(start)
        self._open = [0] * len(start)
        self._met = [0] * len(messages.size)
        self._begun = np.zeros(len(messages.size))
        # of the messages on their links: number, bytes left, rate, moment at which it ends at this rate
        self._active = np.zeros(0, dtype=np.int64)
        self._left = np.zeros(0)
        self._rate = np.zeros(0)
        self._end = np.zeros(0)
        self._events = [(float(clock), 0, rank) for rank, clock in enumerate(start.tolist())]
        heapq.heapify(self._events)

    def run(self) -> None:
        """Until nothing is left to happen."""
        now = 0.0
        while self._events or len(self._active):
            next_end = float(self._end.min()) if len(self._end) else np.inf
            moment = min(self._events[0][0] if self._events else np.inf, next_end)
            self._left -= self._rate * (moment - now)
            now, until = moment, moment + TOGETHER * abs(moment)
            over = self._end <= until
            ended, ends = self._active[over], self._end[over]
            self._keep(~over)
            for message, end in zip(ended.tolist(), ends.tolist(), strict=True):
                self._through(message, end)
            begun: list[int] = []
            while self._events and self._events[0][0] <= until:
                time, kind, number = heapq.heappop(self._events)
                if kind == 0:
                    self._arrive(number, time)
                else:
                    begun.append(number)
                    self._begun[number] = time
            if begun or len(ended):
                self._share(now, begun)

    def adding(self, message: int) -> float:
        """Seconds in which the receiver adds a message."""
        size = int(self._messages.size[message])
        return self._reduction.seconds(size, transfer_seconds=float(self.seconds[message]))

    def _keep(self, those: NDArray[np.bool_]) -> None:
        if not those.all():
            self._active, self._left = self._active[those], self._left[those]
            self._rate, self._end = self._rate[those], self._end[those]

    def _share(self, now: float, begun: list[int]) -> None:
        """Messages have come or gone: who gets what now."""
        fresh = np.array(begun, dtype=np.int64)
        self._active = np.concatenate([self._active, fresh])
        self._left = np.concatenate([self._left, self._messages.size[fresh].astype(np.float64)])
        old = np.concatenate([self._rate, np.zeros(len(fresh))])
        self._end = np.concatenate([self._end, np.full(len(fresh), np.inf)])
        self._rate = max_min_rates(self._messages.paths[self._active], self._capacity)
        # an end is kept while the rate is the same, so that it is rounded once
        changed = np.abs(self._rate - old) > 1e-12 * self._rate
        self._end[changed] = now + np.maximum(self._left[changed], 0.0) / self._rate[changed]

    def _arrive(self, rank: int, time: float) -> None:
        """A rank is ready for its next exchange: its messages start when the other ranks are ready too."""
        self.clocks[rank] = time
        program = self._programs[rank]
        if self._at[rank] == len(program):
            return
        exchange = [message for message in program[self._at[rank]] if message >= 0]
        self._open[rank] = len(exchange)
        for message in exchange:
            self._met[message] += 1
            if self._met[message] == 2:
                heapq.heappush(self._events, (time + float(self._messages.latency[message]), 1, message))

    def _through(self, message: int, time: float) -> None:
        """The last byte of a message: both ranks go on if they wait for nothing else."""
        messages = self._messages
        self.seconds[message] = time - self._begun[message]
        for rank in (int(messages.source[message]), int(messages.destination[message])):
            self._open[rank] -= 1
            if self._open[rank]:
                continue
            into = self._programs[rank][self._at[rank]][1]
            self._at[rank] += 1
            ready = time + self.adding(into) if into >= 0 and messages.reduce[into] else time
            heapq.heappush(self._events, (ready, 0, rank))


def _messages(schedule: Schedule, *, topology: Topology, protocol: Protocol, item_bytes: int) -> _Messages:
    """Every message that is not empty."""
    parts: list[tuple[NDArray[Any], ...]] = []
    paths: list[Numbers] = []
    first = np.concatenate([[0], np.cumsum([kind.count for kind in topology.kinds])])
    for number, step in enumerate(schedule.steps()):
        used = np.flatnonzero(step.end > step.begin)
        if not len(used):
            continue
        source, destination = step.source[used], step.destination[used]
        size = (step.end - step.begin)[used] * item_bytes
        routes = topology.routes(source, destination)
        latency = latencies(routes, protocol.latencies(size), inside_seconds=topology.memory_latency_seconds)
        ones = np.ones(len(used), dtype=np.int64)
        parts.append((source, destination, size, ones * number, ones.astype(bool) & step.reduce, latency))
        columns = []
        for crossing in topology.crossings(source, destination):
            column = np.full(len(used), -1)
            column[slice(None) if crossing.message is None else crossing.message] = first[crossing.kind] + crossing.link
            columns.append(column)
        paths.append(np.stack(columns, axis=1))
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return _Messages(none, none, none, none, none.astype(bool), np.zeros(0), np.zeros((0, 1), dtype=np.int64))
    width = max(each.shape[1] for each in paths)
    padded = [np.pad(each, ((0, 0), (0, width - each.shape[1])), constant_values=-1) for each in paths]
    return _Messages(
        source=np.concatenate([each[0] for each in parts]),
        destination=np.concatenate([each[1] for each in parts]),
        size=np.concatenate([each[2] for each in parts]),
        step=np.concatenate([each[3] for each in parts]),
        reduce=np.concatenate([each[4] for each in parts]),
        latency=np.concatenate([each[5] for each in parts]),
        paths=np.concatenate(padded),
    )


def _programs(messages: _Messages, *, ranks: int) -> list[list[list[int]]]:
    """For each rank its exchanges in order: the message it sends and the one it receives, -1 for none."""
    programs: list[list[list[int]]] = [[] for _ in range(ranks)]
    last = [-1] * ranks
    ends = zip(messages.source.tolist(), messages.destination.tolist(), messages.step.tolist(), strict=True)
    for message, (source, destination, step) in enumerate(ends):
        for side, rank in enumerate((source, destination)):
            if last[rank] != step:
                last[rank] = step
                programs[rank].append([-1, -1])
            programs[rank][-1][side] = message
    return programs


def _capacities(topology: Topology) -> Floats:
    """Bytes per second of every link of every kind."""
    pairs = zip(topology.kinds, topology.capacities, strict=True)
    return np.concatenate([np.broadcast_to(capacity, kind.count) for kind, capacity in pairs])


def _of_each_step(step: Numbers) -> Iterator[Numbers]:
    """The messages of each step, which are in order."""
    ends = np.flatnonzero(np.diff(step)) + 1
    return iter(np.split(np.arange(len(step)), ends) if len(step) else [])
