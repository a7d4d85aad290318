"""Times a schedule on arrays: one clock per rank, links shared evenly by the messages of a step.

A message begins when both its ranks are ready, takes latency + bytes / rate, and both ranks go on when it is through;
a rank that sends and receives in one step waits for both. Who receives to add pays for the addition.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.network.link_use import LinkUse
from sim.network.protocol import Protocol
from sim.network.reduction import ReductionCost
from sim.network.rounds import Rounds
from sim.network.routes import RouteMemory, Routes, latencies
from sim.network.schedule import Ranks, Schedule, Step
from sim.network.sharing import SharingWatch
from sim.network.topology import Topology
from sim.network.totals import Totals
from sim.network.turns import TurnCost, after_turns

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CollectiveResult:
    """Finish time of each rank in seconds, and what the collective moved.

    ``latency_seconds``, ``transfer_seconds`` and ``reduce_seconds`` add up each step's slowest message: how the time
    divides when all ranks start together. ``contention``: whether messages shared links and the times are those of
    max-min fair flows ("exact") or near them ("approximated").
    """

    finish: Floats
    steps: int
    messages: int
    bytes: int
    latency_seconds: float
    transfer_seconds: float
    reduce_seconds: float
    contention: Literal["exact", "approximated", "none"]
    links: LinkUse = field(repr=False, compare=False)


def run(
    schedule: Schedule,
    *,
    topology: Topology,
    protocol: Protocol,
    reduction: ReductionCost,
    start: Floats,
    item_bytes: int,
    observe: Callable[[Step, Floats], None] | None = None,
    judge: bool = True,
) -> CollectiveResult:
    """Run ``schedule`` from the clocks ``start`` (ranks,); elements have ``item_bytes`` bytes.

    ``observe`` is shown every step and the clocks after it, which it must leave as they are. Without ``judge`` it is
    not found out whether sharing is exact: shared links count as approximated.
    """
    runner = _Runner(topology, protocol=protocol, reduction=reduction, clocks=start.copy(), item_bytes=item_bytes)
    runner.watch.exact = runner.watch.exact and judge and schedule.timed_to_rounding
    if schedule.exchanges is not None and observe is None and not runner.watch.exact:
        rounds = Rounds(topology=topology, protocol=protocol, reduction=reduction, item_bytes=item_bytes)
        runner.clocks = rounds.run(schedule, clocks=runner.clocks, totals=runner.totals)
    else:
        for step in schedule.timed_steps():
            runner.step(step, structure=schedule.structure)
            if observe is not None:
                observe(step, runner.clocks)
    contention: Literal["exact", "approximated", "none"] = "none"
    if topology.contention:
        contention = "exact" if runner.watch.exact else "approximated"
    return CollectiveResult(
        finish=runner.clocks,
        contention=contention,
        links=LinkUse(schedule, topology, item_bytes),
        **vars(runner.totals),
    )


class _Runner:
    """The clocks of all ranks, and what is used again in every step."""

    def __init__(
        self, topology: Topology, *, protocol: Protocol, reduction: ReductionCost, clocks: Floats, item_bytes: int
    ) -> None:
        self.clocks = clocks
        self.totals = Totals()
        self.watch = SharingWatch(topology)
        self._topology = topology
        self._protocol = protocol
        self._reduction = reduction
        self._item_bytes = item_bytes
        self._seen = RouteMemory()
        # room for one number per message: fresh pages cost more than the arithmetic
        self._durations, self._ends, self._arrivals = np.empty((3, topology.ranks))

    def step(self, step: Step, *, structure: Hashable) -> None:
        """Move all clocks over the messages of a step; what is empty is not sent, and shares no link."""
        size = step.end - step.begin
        size *= self._item_bytes
        source, destination, everyone = step.source, step.destination, step.everyone
        if not len(size) or not (most := int(size.max())):
            return
        if all_sent := bool(size.all()):
            least = int(size.min())
        else:
            used = np.flatnonzero(size)
            source, destination, size = source[used], destination[used], size[used]
            everyone, least = False, int(size.min())
        if most - least > self._item_bytes and self._topology.contention:
            routes = self._topology.routes_by_size(source, destination, size)
        elif all_sent:
            routes = self._known(step, structure)
        else:
            routes = self._topology.routes(source, destination)
        self._move(step, source, destination, size, everyone, routes)

    def _known(self, step: Step, structure: Hashable) -> Routes:
        """The routes of a step: known from earlier runs if the schedule's structure says all about it."""
        topology = self._topology
        make = partial(topology.routes, step.source, step.destination, everyone=step.everyone)
        if structure is not None:
            return topology.kept_routes((structure, step.pattern), make)
        return self._seen.get(step.pattern, make)

    def _move(self, step: Step, source: Ranks, destination: Ranks, size: Ranks, everyone: bool, routes: Routes) -> None:
        count, totals = len(size), self.totals
        software = self._protocol.latencies(size)
        latency = latencies(routes, software, inside_seconds=self._topology.memory_latency_seconds)
        duration = np.divide(size, routes.rate, out=self._durations[:count])
        transfer = duration.copy() if step.reduce and self._reduction.overlapped else duration
        duration = np.add(duration, latency, out=self._durations[:count])
        slowest = int(duration.argmax())
        totals.latency_seconds += float(latency[slowest]) * step.turns
        totals.transfer_seconds += float(size[slowest] / routes.rate[slowest]) * step.turns
        totals.steps += step.turns
        totals.messages += count * step.turns
        totals.bytes += int(size.sum()) * step.turns
        if step.turns > 1:
            adding = self._reduction.all_seconds(size, transfer_seconds=transfer) if step.reduce else np.zeros(count)
            totals.reduce_seconds += float(adding.max()) * step.turns
            cost = TurnCost(message_seconds=duration, adding_seconds=adding)
            self.watch.turns(self.clocks, duration, routes)
            if everyone and step.groups == 1:
                self.clocks = after_turns(self.clocks, cost, turns=step.turns)
                return
            self.watch.exact = False
            for part in np.split(np.arange(count), step.groups):
                own = TurnCost(message_seconds=duration[part], adding_seconds=adding[part])
                self.clocks[source[part]] = after_turns(self.clocks[source[part]], own, turns=step.turns)
            return
        clocks = self.clocks
        if step.joint_group:
            self._joint(source, destination, duration, routes)
            return
        end = np.take(clocks, destination, out=self._ends[:count], mode="clip")
        np.maximum(clocks if everyone else clocks[source], end, out=end)
        begin = end.copy() if self.watch.exact else end
        end += duration
        if self.watch.exact:
            self.watch.step(source=source, destination=destination, begin=begin, end=end, routes=routes)
        clocks[slice(None) if everyone else source] = end
        arrived = np.take(clocks, destination, out=self._arrivals[:count], mode="clip")
        np.maximum(arrived, end, out=arrived)
        if step.reduce:
            adding = self._reduction.all_seconds(size, transfer_seconds=transfer, out=self._durations[:count])
            arrived += adding
            totals.reduce_seconds += float(adding.max())
        clocks[destination] = arrived

    def _joint(self, source: Ranks, destination: Ranks, duration: Floats, routes: Routes) -> None:
        """Messages that begin when all ranks have come; all ranks go on when all are through."""
        begin = np.broadcast_to(self.clocks.max(), duration.shape)
        end = begin + duration
        if self.watch.exact:
            self.watch.step(source=source, destination=destination, begin=begin, end=end, routes=routes)
        self.clocks[:] = end.max()
