"""A ring's clocks after many equal steps, without making them: every message as long as in the step before.

One step makes of clocks c: the message from rank i to i + 1 ends at e_i = max(c_i, c_{i+1}) + d_i, and rank i is at
max(e_i, e_{i-1}). After k steps a rank is at the longest walk of k messages that ends there. If there are only two
durations, the longest walk goes to a slow message as directly as it can, stays, and comes back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.network.protocol import Protocol
from sim.network.ranks import latencies
from sim.network.topology import Topology

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RingResult:
    """Clocks (ranks,) after an all-gather around a ring, in seconds, and what it moved."""

    finish: Floats
    messages: int
    bytes: int
    latency_seconds: float
    transfer_seconds: float
    reduce_seconds: float = 0.0


def pass_around(start: Floats, *, topology: Topology, protocol: Protocol, size: int) -> RingResult:
    """All-gather of ``size`` bytes of each rank around a ring, from the clocks ``start`` (ranks,)."""
    ranks = topology.ranks
    place = np.arange(ranks)
    routes = topology.routes(place, (place + 1) % ranks, everyone=True)
    software = protocol.latencies(np.full(ranks, size))
    latency = latencies(routes, software, inside_seconds=topology.memory_latency_seconds)
    transfer = size / routes.rate
    duration = latency + transfer
    steps = ranks - 1
    finish = after_steps(start, duration, steps=steps)
    if finish is None:
        finish = start
        for _ in range(steps):
            finish = one_step(finish, duration)
    slowest = int(duration.argmax())
    return RingResult(
        finish=finish,
        messages=ranks * steps,
        bytes=ranks * steps * size,
        latency_seconds=steps * float(latency[slowest]),
        transfer_seconds=steps * float(transfer[slowest]),
    )


def one_step(clocks: Floats, duration: Floats) -> Floats:
    """Clocks after each rank has sent to the next and received from the one before."""
    end = np.maximum(clocks, np.roll(clocks, -1)) + duration
    return np.maximum(end, np.roll(end, 1))


def after_steps(start: Floats, duration: Floats, *, steps: int) -> Floats | None:
    """Clocks after ``steps`` equal steps from ``start``; message i takes ``duration[i]`` seconds. Both (ranks,).

    For one step less than there are ranks, or more. None if durations have more than two values.
    """
    values = np.unique(duration)
    if len(values) > 2:
        return None
    fast, slow = float(values[0]), float(values[-1])
    everywhere = float(start.max()) + steps * fast
    if fast == slow:
        return np.full(len(start), everywhere)
    lost = np.where(duration == slow, 0.0, slow - fast)
    waits = np.full(len(start), -np.inf)
    ends = (duration == slow) | (np.roll(duration, 1) == slow)
    waits[ends] = _best_walk(start, lost)[ends]
    return np.maximum(_best_walk(waits, lost) + steps * slow, everywhere)


def _best_walk(values: Floats, lost: Floats) -> Floats:
    """At each rank the largest of all ranks' values, less what is lost on the better way around from there."""
    count = len(values)
    twice = np.concatenate([values, values])
    place = np.concatenate([[0.0], np.cumsum(np.tile(lost, 2))])[:-1]
    onward = np.maximum.accumulate(twice + place) - place
    back = np.maximum.accumulate((twice - place)[::-1])[::-1] + place
    best: Floats = np.maximum(onward[count:], back[:count])
    return best
