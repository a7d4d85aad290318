"""The two-level network: which links a message crosses, and how the messages of a step share them.

Nodes hang in supernodes of full bisection; supernodes are joined by tapered uplinks (THESIS §7.2.1). A node's link
carries less both ways together than twice one way (SWCAFFE Fig. 6), and the ranks of one node talk through memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.machine.spec import NetworkSpec
from sim.problems import BadInput, Problem

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Routes:
    """What a set of messages meets on its way: bytes per second for each, extra seconds, and who stays in a node."""

    rate: Floats
    hop_seconds: Floats
    inside_node: NDArray[np.bool_]


@dataclass(frozen=True)
class Topology:
    """``nodes`` nodes of ``network`` with ``ranks_per_node`` ranks each; the ranks of a node are consecutive.

    Without ``contention`` every message has its path to itself. Raises BadInput for more nodes than there are.
    """

    network: NetworkSpec
    nodes: int
    ranks_per_node: int = 1
    contention: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= self.network.nodes:
            raise BadInput(
                [
                    Problem(
                        file="nodes",
                        key="",
                        value=self.nodes,
                        expected=f"1 to {self.network.nodes:,}, the nodes of the machine",
                    )
                ]
            )

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def supernode_ranks(self) -> int:
        """Ranks in a full supernode."""
        return self.network.supernode_nodes * self.ranks_per_node

    @property
    def supernodes(self) -> int:
        """Supernodes in use."""
        return -(-self.nodes // self.network.supernode_nodes)

    @cached_property
    def node_of(self) -> Ranks:
        """Node of each rank."""
        return np.repeat(np.arange(self.nodes), self.ranks_per_node)

    @cached_property
    def supernode_of(self) -> Ranks:
        """Supernode of each rank."""
        return np.repeat(np.arange(self.supernodes), self.supernode_ranks)[: self.ranks]

    def routes(self, source: Ranks, destination: Ranks) -> Routes:
        """Rates and hops of messages that all start together and share links evenly."""
        network = self.network
        from_node, to_node = self.node_of[source], self.node_of[destination]
        inside = from_node == to_node
        from_super, to_super = self.supernode_of[source], self.supernode_of[destination]
        crossing = from_super != to_super
        rate = np.empty(len(source))
        self._share_nodes(rate, from_node, to_node, inside)
        if crossing.any():
            trunk = network.uplinks_per_supernode * network.uplink_bytes_per_second
            for at in (from_super, to_super):
                used = at[crossing]
                load = np.bincount(used, minlength=self.supernodes)[used] if self.contention else 1
                rate[crossing] = np.minimum(rate[crossing], trunk / load)
        if not self.contention:
            rate = np.minimum(rate, np.where(crossing, network.uplink_bytes_per_second, np.inf))
        return Routes(rate=rate, hop_seconds=np.where(crossing, network.hop_latency_seconds, 0.0), inside_node=inside)

    def _share_nodes(self, rate: Floats, from_node: Ranks, to_node: Ranks, inside: NDArray[np.bool_]) -> None:
        """Fill ``rate`` with what the nodes' links and memories leave each message."""
        network = self.network
        if not self.contention:
            one_way = min(network.node_bytes_per_second, network.node_duplex_bytes_per_second)
            rate[...] = np.where(inside, network.shared_memory_bytes_per_second, one_way)
            return
        if inside.all():
            rate[...] = network.shared_memory_bytes_per_second / np.bincount(from_node)[from_node]
            return
        outside = ~inside if inside.any() else slice(None)
        leaving = np.bincount(from_node[outside], minlength=self.nodes)
        entering = np.bincount(to_node[outside], minlength=self.nodes)
        both = leaving + entering
        with np.errstate(divide="ignore"):
            one_way_out = network.node_bytes_per_second / leaving
            one_way_in = network.node_bytes_per_second / entering
            duplex = network.node_duplex_bytes_per_second / both
        sending, receiving = np.minimum(one_way_out, duplex), np.minimum(one_way_in, duplex)
        np.minimum(sending[from_node], receiving[to_node], out=rate)
        if inside.any():
            place = from_node[inside]
            load = np.bincount(place, minlength=self.nodes)[place]
            rate[inside] = network.shared_memory_bytes_per_second / load

    def latency(self, routes: Routes, size: NDArray[np.int64]) -> Floats:
        """Seconds before the first byte: by protocol (eager below the limit, else rendezvous) and hops."""
        network = self.network
        protocol = np.where(
            size < network.eager_limit_bytes,
            network.eager_latency_seconds,
            network.rendezvous_latency_seconds,
        )
        return np.where(routes.inside_node, network.shared_memory_latency_seconds, protocol + routes.hop_seconds)
