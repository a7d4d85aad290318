"""A collective message by message: one SimPy process per rank, a meeting of two ranks per message, no contention.

The reference for :mod:`sim.network.ranks`, written from the same rules and sharing only the schedule with it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.network.protocol import Protocol
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule
from sim.network.topology import Topology

MOST_NODES = 64
MOST_RANKS_PER_NODE = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MessagesResult:
    """Finish time of each rank in seconds, what the messages carried, and what each rank holds at the end.

    ``values`` has shape (ranks, elements), or is None if none were given.
    """

    finish: Floats
    messages: int
    bytes: int
    values: NDArray[Any] | None


class _Message:
    """A part of the elements on its way to place ``put``, ``seconds`` long from when both its ranks have come.

    ``adding`` is how many seconds the receiver then adds for, None if it only keeps what came.
    """

    def __init__(
        self, env: simpy.Environment, *, part: slice, put: slice, seconds: float, adding: float | None
    ) -> None:
        self.env = env
        self.part = part
        self.put = put
        self.seconds = seconds
        self.adding = adding
        self.data: NDArray[Any] | None = None
        self.ready = 0
        self.through = env.event()

    def meet(self) -> None:
        """One of the two ranks is ready now."""
        self.ready += 1
        if self.ready == 2:
            self.env.process(self._travel())

    def _travel(self) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(self.seconds)
        self.through.succeed()


@dataclass
class _Exchange:
    """What one rank does in one step: at most one message out and one in."""

    out: _Message | None = None
    into: _Message | None = None


def simulate(
    schedule: Schedule,
    *,
    topology: Topology,
    protocol: Protocol,
    reduction: ReductionCost,
    start: Floats,
    item_bytes: int,
    values: NDArray[Any] | None = None,
) -> MessagesResult:
    """Run ``schedule`` from the times ``start`` (ranks,), not negative; elements have ``item_bytes`` bytes.

    ``values``, if given, are what the ranks hold at first: shape (ranks, elements), left as they are.
    Raises ValueError for a topology with contention or with more than 64 nodes of 4 ranks, and for wrong shapes.
    """
    _check(schedule, topology=topology, start=start, values=values)
    env = simpy.Environment()
    programs: list[list[_Exchange]] = [[] for _ in range(schedule.ranks)]
    messages = moved = 0
    for step in schedule.steps():
        if step.joint_group:
            raise ValueError(f"{schedule.name}: what switches add is no message between two ranks")
        exchanges: dict[int, _Exchange] = {}
        for at in range(len(step.source)):
            source, destination = int(step.source[at]), int(step.destination[at])
            begin, end = int(step.begin[at]), int(step.end[at])
            size = (end - begin) * item_bytes
            if not size:
                continue
            put = begin if step.into is None else int(step.into[at])
            way = _way(topology, source=source, destination=destination)
            software = way.latency_seconds if way.inside else way.latency_seconds + protocol.seconds(size)
            transfer = size / way.bytes_per_second
            message = _Message(
                env,
                part=slice(begin, end),
                put=slice(put, put + end - begin),
                seconds=transfer + software,
                adding=reduction.seconds(size, transfer_seconds=transfer) if step.reduce else None,
            )
            exchanges.setdefault(source, _Exchange()).out = message
            exchanges.setdefault(destination, _Exchange()).into = message
            messages += 1
            moved += size
        for rank, exchange in exchanges.items():
            programs[rank].append(exchange)
    held = None
    if values is not None:
        held = np.tile(values, 2) if schedule.copied else values.copy()
    ranks = [
        env.process(_rank(env, program, start=float(start[rank]), held=None if held is None else held[rank]))
        for rank, program in enumerate(programs)
    ]
    env.run(until=env.all_of(ranks))
    if held is not None and schedule.copied:
        held = held[:, schedule.elements :]
    finish = np.array([rank.value for rank in ranks], dtype=np.float64)
    return MessagesResult(finish=finish, messages=messages, bytes=moved, values=held)


def _rank(
    env: simpy.Environment, program: list[_Exchange], *, start: float, held: NDArray[Any] | None
) -> Generator[simpy.Event, Any, float]:
    """Walk through one rank's exchanges; the time at the end, in seconds.

    SimPy's clock only ever adds one delay to the time of the later of two events, as the rule for a message says,
    so that its times carry no other rounding.
    """
    yield env.timeout(start)
    for exchange in program:
        out, into = exchange.out, exchange.into
        if out is not None:
            if held is not None:
                # what leaves is what the rank held when the step began, whatever arrives meanwhile
                out.data = held[out.part].copy()
            out.meet()
        if into is not None:
            into.meet()
            yield into.through
        if out is not None:
            yield out.through
        if into is None:
            continue
        if held is not None:
            held[into.put] = into.data if into.adding is None else held[into.put] + into.data
        if into.adding is not None:
            yield env.timeout(into.adding)
    return float(env.now)


@dataclass(frozen=True)
class _Way:
    """What one message alone meets: its slowest link, and seconds besides the software's."""

    bytes_per_second: float
    latency_seconds: float
    inside: bool


def _way(topology: Topology, *, source: int, destination: int) -> _Way:
    network = topology.network
    from_node, to_node = source // topology.ranks_per_node, destination // topology.ranks_per_node
    if from_node == to_node:
        return _Way(network.shared_memory.bytes_per_second, network.shared_memory.latency_seconds, inside=True)
    paths = topology.fabric.paths(np.array([from_node]), np.array([to_node]))
    rates = [network.link.node_bytes_per_second, network.link.node_duplex_bytes_per_second]
    rates += [topology.fabric.kinds[crossing.kind].bytes_per_second for crossing in paths.crossings]
    return _Way(min(rates), float(paths.seconds[0]), inside=False)


def _check(schedule: Schedule, *, topology: Topology, start: Floats, values: NDArray[Any] | None) -> None:
    if topology.nodes > MOST_NODES or topology.ranks_per_node > MOST_RANKS_PER_NODE:
        raise ValueError(
            f"message by message: at most {MOST_NODES} nodes of {MOST_RANKS_PER_NODE} ranks, "
            f"got {topology.nodes} of {topology.ranks_per_node}"
        )
    if topology.contention:
        raise ValueError("message by message: links are not shared here, expected a topology without contention")
    if schedule.ranks != topology.ranks or start.shape != (topology.ranks,):
        raise ValueError(
            f"{schedule.name}: {topology.ranks} ranks in the topology, "
            f"{schedule.ranks} in the schedule, start times {start.shape}"
        )
    if values is not None and values.shape != (schedule.ranks, schedule.elements):
        raise ValueError(f"{schedule.name}: expected ({schedule.ranks}, {schedule.elements}), got {values.shape}")
