"""Messages that leave together, and how long the slowest of them takes for any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.network.protocol import Protocol
from sim.network.topology import Topology
from workloads.hpc.durations import Picoseconds, picoseconds

Ranks = NDArray[np.int64]
Sizes = NDArray[np.int64]


@dataclass(frozen=True)
class RouteClass:
    """Messages with equal routes: bytes per second, extra seconds, and whether they stay in a node."""

    rate: float
    hop_seconds: float
    inside_node: bool


@dataclass(frozen=True)
class MessagePattern:
    """Messages of one size that all start together; see :func:`pattern_of`. Without any, nothing takes time."""

    classes: tuple[RouteClass, ...]
    protocol: Protocol
    memory_latency_seconds: float

    def picoseconds(self, size: Sizes) -> Picoseconds:
        """Of the slowest message, for each size in bytes; 0 bytes are not sent."""
        sizes = np.asarray(size, dtype=np.int64)
        found = np.zeros(sizes.shape)
        software = self.protocol.latencies(sizes.ravel()).reshape(sizes.shape)
        for each in self.classes:
            latency = self.memory_latency_seconds if each.inside_node else software + each.hop_seconds
            np.maximum(found, latency + sizes / each.rate, out=found)
        return picoseconds(np.where(sizes > 0, found, 0.0))


def pattern_of(*, topology: Topology, protocol: Protocol, source: Ranks, destination: Ranks) -> MessagePattern:
    """The pattern of messages from ``source[i]`` to ``destination[i]``, which share the links that they cross."""
    classes: tuple[RouteClass, ...] = ()
    if len(source):
        routes = topology.routes(source, destination)
        rates, rate = np.unique(routes.rate, return_inverse=True)
        hops, hop = np.unique(routes.hop_seconds, return_inverse=True)
        kinds = np.bincount((rate * len(hops) + hop) * 2 + routes.inside_node)
        classes = tuple(
            RouteClass(
                rate=float(rates[kind // 2 // len(hops)]),
                hop_seconds=float(hops[kind // 2 % len(hops)]),
                inside_node=bool(kind % 2),
            )
            for kind in np.flatnonzero(kinds).tolist()
        )
    return MessagePattern(classes, protocol, topology.memory_latency_seconds)
