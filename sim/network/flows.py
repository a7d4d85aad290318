"""A collective as flows that share links max-min fairly at every moment: the reference for contention.

The rules of :mod:`sim.network.ranks`, but a link is shared by the messages that are on it at that moment, whatever step
they belong to. A message is on its links from the end of its latency until its last byte.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.network.fair_shares import FairShares
from sim.network.flow_messages import FlowMessages, link_capacities
from sim.network.link_use import LinkUse
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology
from sim.problems import BadInput, Problem

Floats = NDArray[np.float64]

MOST_NODES: Final = 1024
TOGETHER: Final = 1e-13
"""Moments closer than this part of the time are one."""
RANK_READY, MESSAGE_BEGINS, MESSAGE_ENDS = range(3)
"""What may happen at a moment."""


class TooMuchWork(Exception):
    """So many flows depend on one another that following them takes longer than was allowed."""


def run_flows(
    schedule: Schedule,
    *,
    topology: Topology,
    protocol: Protocol,
    reduction: ReductionCost,
    start: Floats,
    item_bytes: int,
    observe: Callable[[Step, Floats], None] | None = None,
    most_work: int | None = None,
) -> CollectiveResult:
    """Run ``schedule`` as :func:`sim.network.ranks.run` does, message by message.

    Raises BadInput for more than 1,024 nodes, ValueError for a topology without contention, and TooMuchWork where flows
    on links have been looked at more than ``most_work`` times.
    """
    if topology.nodes > MOST_NODES:
        expected = f"at most {MOST_NODES:,} nodes for single flows; steps of messages have no limit"
        raise BadInput([Problem(file="nodes", key="", value=topology.nodes, expected=expected)])
    if not topology.contention:
        raise ValueError("flows share links: expected a topology with contention")
    messages = FlowMessages.of(schedule, topology=topology, protocol=protocol, item_bytes=item_bytes)
    flows = Flows(messages, reduction=reduction, capacity=link_capacities(topology), start=start)
    flows.run(most_work=most_work)
    latency = transfer = adding = 0.0
    for number, (step, _) in enumerate(messages.steps):
        those = messages.of_step(number)
        slowest = those.start + int((flows.seconds[those] + messages.latency[those]).argmax())
        latency += float(messages.latency[slowest])
        transfer += float(flows.seconds[slowest])
        if step.reduce:
            size, seconds = messages.size[those], flows.seconds[those]
            adding += float(reduction.all_seconds(size, transfer_seconds=seconds).max())
    if observe is not None:
        flows.retell(observe, start=start)
    return CollectiveResult(
        finish=np.array([ready[-1] for ready in flows.ready]),
        steps=len(messages.steps),
        messages=len(messages.paths),
        bytes=int(messages.size.sum()),
        latency_seconds=latency,
        transfer_seconds=transfer,
        reduce_seconds=adding,
        contention="exact",
        links=LinkUse(schedule, topology, item_bytes),
    )


class Flows:
    """The state at a moment: what each rank waits for, which messages are on their links, and how fast.

    ``seconds`` of each message on its links (messages,); ``ready``: when each rank was ready for each of its exchanges,
    and when it was through.
    """

    def __init__(self, messages: FlowMessages, *, reduction: ReductionCost, capacity: Floats, start: Floats) -> None:
        count = len(messages.paths)
        self.seconds = np.zeros(count)
        self.ready: list[list[float]] = [[] for _ in start]
        self.shares = FairShares(messages.paths, capacity)
        self._messages = messages
        self._reduction = reduction
        self._programs = messages.programs(ranks=len(start))
        self._ends = list(zip(messages.source.tolist(), messages.destination.tolist(), strict=True))
        self._size, self._latency = messages.size.tolist(), messages.latency.tolist()
        self._adds = messages.reduce.tolist()
        self._open = [0] * len(start)
        # messages that wait for one another: how often a rank is yet to come for them, how many are under way
        self._members = _groups(messages)
        self._group = [number for number, those in enumerate(self._members) for _ in those]
        self._missing = [2 * len(those) for those in self._members]
        self._under_way = [len(those) for those in self._members]
        self._begun = [0.0] * count
        # bytes left since the last change of a message's rate, and which of its ends foretold holds
        self._left = messages.size.astype(np.float64).tolist()
        self._since = [0.0] * count
        self._version = [0] * count
        self._events = [(clock, RANK_READY, rank, 0) for rank, clock in enumerate(start.tolist())]
        heapq.heapify(self._events)

    def run(self, *, most_work: int | None = None) -> None:
        """Until nothing is left to happen. Raises TooMuchWork."""
        while self._events:
            self.moment()
            if most_work is not None and self.shares.work > most_work:
                raise TooMuchWork

    def moment(self) -> None:
        """Everything that happens at the next moment."""
        events = self._events
        now = events[0][0]
        until = now + TOGETHER * abs(now)
        begun: list[int] = []
        ended: list[int] = []
        while events and events[0][0] <= until:
            time, what, number, version = heapq.heappop(events)
            if what == RANK_READY:
                self._arrive(number, time)
            elif what == MESSAGE_BEGINS:
                self._begun[number] = self._since[number] = time
                begun.append(number)
            elif version == self._version[number]:
                self.seconds[number] = time - self._begun[number]
                ended.append(number)
                self._through(number, time)
        if not begun and not ended:
            return
        for flow, before in self.shares.change(begun=begun, ended=ended):
            left = self._left[flow] = self._left[flow] - before * (now - self._since[flow])
            self._since[flow] = now
            self._version[flow] += 1
            end = now + max(left, 0.0) / self.shares.rate[flow]
            heapq.heappush(events, (end, MESSAGE_ENDS, flow, self._version[flow]))

    def retell(self, observe: Callable[[Step, Floats], None], *, start: Floats) -> None:
        """Show every step and the clocks after it, as if one came after the other."""
        clocks = start.copy()
        done = [0] * len(clocks)
        for number, (step, _) in enumerate(self._messages.steps):
            those = self._messages.of_step(number)
            for rank in {*self._messages.source[those].tolist(), *self._messages.destination[those].tolist()}:
                done[rank] += 1
                clocks[rank] = self.ready[rank][done[rank]]
            observe(step, clocks)

    def _arrive(self, rank: int, time: float) -> None:
        """A rank is ready for its next exchange: its messages start when the other ranks are ready too."""
        ready, program = self.ready[rank], self._programs[rank]
        ready.append(time)
        if len(ready) > len(program):
            return
        for message in program[len(ready) - 1]:
            if message < 0:
                continue
            self._open[rank] += 1
            group = self._group[message]
            self._missing[group] -= 1
            if not self._missing[group]:
                for each in self._members[group]:
                    heapq.heappush(self._events, (time + self._latency[each], MESSAGE_BEGINS, each, 0))

    def _through(self, message: int, time: float) -> None:
        """The last byte of a message: both ranks go on if they wait for nothing else."""
        group = self._group[message]
        self._under_way[group] -= 1
        if self._under_way[group]:
            return
        for each in self._members[group]:
            for rank in self._ends[each]:
                self._open[rank] -= 1
                if self._open[rank]:
                    continue
                into = self._programs[rank][len(self.ready[rank]) - 1][1]
                ready = time
                if into >= 0 and self._adds[into]:
                    ready += self._reduction.seconds(self._size[into], transfer_seconds=float(self.seconds[into]))
                heapq.heappush(self._events, (ready, RANK_READY, rank, 0))


def _groups(messages: FlowMessages) -> list[list[int]]:
    """Messages that begin together and let go of their ranks together: most are alone."""
    groups: list[list[int]] = []
    for number, (step, _) in enumerate(messages.steps):
        those = messages.of_step(number)
        numbers = list(range(those.start, those.stop))
        groups += [numbers] if step.joint_group else [[each] for each in numbers]
    return groups
