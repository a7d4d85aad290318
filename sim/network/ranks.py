"""Times a schedule on arrays: one clock per rank, links shared evenly by the messages of a step.

A message begins when both its ranks are ready, takes latency + bytes / rate, and both ranks go on when it is through;
a rank that sends and receives in one step waits for both. Who receives to add pays for the addition.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.network.protocol import Protocol
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule
from sim.network.topology import Routes, Topology

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CollectiveResult:
    """Finish time of each rank in seconds, and what the collective moved.

    ``latency_seconds``, ``transfer_seconds`` and ``reduce_seconds`` add up each step's slowest message: how the time
    divides when all ranks start together.
    """

    finish: Floats
    steps: int
    messages: int
    bytes: int
    latency_seconds: float
    transfer_seconds: float
    reduce_seconds: float


def run(
    schedule: Schedule,
    *,
    topology: Topology,
    protocol: Protocol,
    reduction: ReductionCost,
    start: Floats,
    item_bytes: int,
) -> CollectiveResult:
    """Run ``schedule`` from the clocks ``start`` (ranks,); elements have ``item_bytes`` bytes."""
    clocks = start.copy()
    # room for one number per message, used again in every step: fresh pages cost more than the arithmetic
    first, second, third = np.empty((3, topology.ranks))
    known: dict[Hashable, Routes] = {}
    steps = messages = moved = 0
    parts = np.zeros(3)
    for step in schedule.steps():
        size = step.end - step.begin
        size *= item_bytes
        source, destination, everyone = step.source, step.destination, step.everyone
        if size.all():
            routes = known.get(step.pattern)
            if routes is None:
                routes = topology.routes(source, destination, everyone=everyone)
                known[step.pattern] = routes
        else:  # what is empty is not sent, and shares no link
            used = np.flatnonzero(size)
            source, destination, size = source[used], destination[used], size[used]
            if not len(size):
                continue
            everyone = False
            routes = topology.routes(source, destination)
        count = len(size)
        latency = latencies(routes, protocol.latencies(size), inside_seconds=topology.memory_latency_seconds)
        duration = np.divide(size, routes.rate, out=first[:count])
        transfer = duration.copy() if step.reduce and reduction.overlapped else duration
        duration = np.add(duration, latency, out=first[:count])
        slowest = int(duration.argmax())
        parts += latency[slowest], size[slowest] / routes.rate[slowest], 0.0
        end = np.take(clocks, destination, out=second[:count], mode="clip")
        np.maximum(clocks if everyone else clocks[source], end, out=end)
        end += duration
        clocks[slice(None) if everyone else source] = end
        arrived = np.take(clocks, destination, out=third[:count], mode="clip")
        np.maximum(arrived, end, out=arrived)
        if step.reduce:
            adding = reduction.all_seconds(size, transfer_seconds=transfer, out=first[:count])
            arrived += adding
            parts[2] += adding.max()
        clocks[destination] = arrived
        steps += 1
        messages += count
        moved += int(size.sum())
    return CollectiveResult(
        finish=clocks,
        steps=steps,
        messages=messages,
        bytes=moved,
        latency_seconds=float(parts[0]),
        transfer_seconds=float(parts[1]),
        reduce_seconds=float(parts[2]),
    )


def latencies(routes: Routes, software: Floats, *, inside_seconds: float) -> Floats:
    """Seconds before each message's first byte: the protocol's and the hops', or ``inside_seconds`` inside a node.

    An array of equal numbers takes no memory if both are.
    """
    if routes.inside_node.any():
        return np.where(routes.inside_node, inside_seconds, routes.hop_seconds + software)
    if routes.hop_seconds.strides == software.strides == (0,) and len(software):
        return np.broadcast_to(routes.hop_seconds[0] + software[0], software.shape)
    return routes.hop_seconds + software
