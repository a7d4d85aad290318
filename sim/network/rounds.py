"""Times what neighbours do alike: clocks that repeat from round to round of neighbours are moved once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.network.exchange import Exchange, peers
from sim.network.protocol import Protocol
from sim.network.reduction import ReductionCost
from sim.network.routes import Routes, latencies
from sim.network.schedule import Schedule
from sim.network.topology import Topology
from sim.network.totals import Totals

Floats = NDArray[np.float64]
Sizes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The exchanges of a schedule on arrays of clocks, to the bit as :func:`sim.network.ranks.run` moves them."""

    topology: Topology
    protocol: Protocol
    reduction: ReductionCost
    item_bytes: int

    def run(self, schedule: Schedule, *, clocks: Floats, totals: Totals) -> Floats:
        """The clocks of all ranks (ranks,) after all exchanges; what they moved is added to ``totals``."""
        assert schedule.exchanges is not None
        ranks = self.topology.ranks
        for exchange in schedule.exchanges():
            key = (schedule.structure, exchange.pattern)
            routes = self.topology.kept_routes(key, partial(self._routes, exchange))
            clocks = _folded(clocks, len(exchange.begin)) if routes.all_equal else _repeated(clocks, ranks)
            clocks = self._move(exchange, clocks, routes, totals)
        return _repeated(clocks, ranks)

    def _routes(self, exchange: Exchange) -> Routes:
        source = np.arange(self.topology.ranks)
        destination = peers(source, exchange.radix, exchange.stride, exchange.shift)
        return self.topology.routes(source, destination, everyone=True)

    def _move(self, exchange: Exchange, clocks: Floats, routes: Routes, totals: Totals) -> Floats:
        size = (exchange.end - exchange.begin) * self.item_bytes
        which: NDArray[np.intp] | None = None
        if routes.all_equal:
            # parts of so many equal ranks are of two lengths at most
            least, most = int(size.min()), int(size.max())
            if least != most:
                which = (size > least).astype(np.intp)
            costs = self._of_lengths((least, most) if least != most else (least,), routes, exchange.reduce)
        else:
            size = np.tile(size, len(clocks) // len(size))
            which = np.arange(len(size))
            costs = self._of_each(size, routes, exchange.reduce)
        duration = costs.transfer + costs.latency
        slowest = int(duration.argmax())
        if which is not None and len(duration) == 2 and duration[0] == duration[1]:
            slowest = int(which[0])
        rounds = self.topology.ranks // len(size)
        totals.steps += 1
        totals.messages += len(size) * rounds
        totals.bytes += int(size.sum()) * rounds
        totals.latency_seconds += float(costs.latency[slowest])
        totals.transfer_seconds += float(costs.transfer[slowest])
        back = partial(peers, radix=exchange.radix, stride=exchange.stride, shift=exchange.radix - exchange.shift)
        end = np.maximum(clocks, peers(clocks, exchange.radix, exchange.stride, exchange.shift))
        _add(end, duration if which is None else duration[which])
        # each rank has sent, and has what the rank behind it has sent
        arrived = back(end)
        np.maximum(arrived, end, out=arrived)
        if costs.adding is not None:
            totals.reduce_seconds += float(costs.adding.max())
            _add(arrived, costs.adding if which is None else back(costs.adding[which]))
        return arrived

    def _of_each(self, size: Sizes, routes: Routes, reduce: bool) -> _Costs:
        """Of each message of ``size`` bytes (messages,)."""
        software = self.protocol.latencies(size)
        latency = latencies(routes, software, inside_seconds=self.topology.memory_latency_seconds)
        transfer = size / routes.rate
        adding = self.reduction.all_seconds(size, transfer_seconds=transfer) if reduce else None
        return _Costs(latency, transfer, adding)

    def _of_lengths(self, lengths: tuple[int, ...], routes: Routes, reduce: bool) -> _Costs:
        """Of messages of these lengths, which all meet the same: one number after the other takes less than arrays."""
        rate, hops, inside = float(routes.rate[0]), float(routes.hop_seconds[0]), bool(routes.inside_node[0])
        within = self.topology.memory_latency_seconds
        latency = [within if inside else hops + self.protocol.seconds(length) for length in lengths]
        transfer = [length / rate for length in lengths]
        adding = None
        if reduce:
            both = zip(lengths, transfer, strict=True)
            adding = np.array([self.reduction.seconds(length, transfer_seconds=seconds) for length, seconds in both])
        return _Costs(np.array(latency), np.array(transfer), adding)


class _Costs(NamedTuple):
    """Seconds before the first byte, on the wire, and of the addition, if there is one."""

    latency: Floats
    transfer: Floats
    adding: Floats | None


def _add(clocks: Floats, seconds: Floats) -> None:
    """The same seconds to the clocks of every round."""
    rounds = clocks.reshape(-1, len(seconds))
    rounds += seconds


def _folded(clocks: Floats, size: int) -> Floats:
    """As many clocks as rounds of ``size`` ranks need: those of the first round if the others are the same."""
    if len(clocks) <= size:
        return _repeated(clocks, size)
    rounds = clocks.reshape(-1, size)
    return rounds[0] if (rounds == rounds[0]).all() else clocks


def _repeated(clocks: Floats, count: int) -> Floats:
    return clocks if len(clocks) == count else np.tile(clocks, count // len(clocks))
