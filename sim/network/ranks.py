"""Times a schedule on arrays: one clock per rank, links shared evenly by the messages of a step.

A message begins when both its ranks are ready, takes latency + bytes / rate, and both ranks go on when it is through;
a rank that sends and receives in one step waits for both. Who receives to add pays for the addition.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    schedule: Schedule, *, topology: Topology, start: Floats, item_bytes: int, reduce_seconds_per_byte: float
) -> CollectiveResult:
    """Run ``schedule`` from the clocks ``start`` (ranks,); elements have ``item_bytes`` bytes."""
    clocks = start.copy()
    known: dict[Hashable, Routes] = {}
    steps = messages = moved = 0
    parts = np.zeros(3)
    for step in schedule.steps():
        size = (step.end - step.begin) * item_bytes
        source, destination = step.source, step.destination
        routes = known.get(step.pattern)
        if routes is None:
            routes = known[step.pattern] = topology.routes(source, destination)
        latency = topology.latency(routes, size)
        transfer = size / routes.rate
        if not size.all():
            used = size > 0
            source, destination, size = source[used], destination[used], size[used]
            latency, transfer = latency[used], transfer[used]
            if not len(size):
                continue
        duration = latency + transfer
        end = np.maximum(clocks[source], clocks[destination]) + duration
        slowest = int(duration.argmax())
        parts += latency[slowest], transfer[slowest], 0.0
        after = clocks.copy()
        after[source] = end
        after[destination] = np.maximum(after[destination], end)
        if step.reduce:
            adding = reduce_seconds_per_byte * size
            after[destination] += adding
            parts[2] += adding.max()
        clocks = after
        steps += 1
        messages += len(size)
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
