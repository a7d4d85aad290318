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

    def routes(self, source: Ranks, destination: Ranks, *, everyone: bool = False) -> Routes:
        """Rates and hops of messages that all start together and share links evenly.

        ``everyone``: message i is of rank i, and every rank sends one and receives one.
        """
        network = self.network
        place: Ranks | slice = slice(None) if everyone else source
        from_node, to_node = self.node_of[place], self.node_of[destination]
        inside = from_node == to_node
        from_super, to_super = self.supernode_of[place], self.supernode_of[destination]
        crossing = from_super != to_super
        rate = self._share_equally(inside) if everyone else None
        if rate is None:
            rate = self._share_nodes(from_node, to_node, inside)
        hop = _constant(0.0, len(rate))
        if crossing.any():
            trunk = network.uplinks_per_supernode * network.uplink_bytes_per_second
            # all that cross, without a copy where that is everyone
            those = slice(None) if crossing.all() else crossing
            rate = rate.copy()
            for at in (from_super[those], to_super[those]):
                if self.contention:
                    per_message = trunk / np.bincount(at, minlength=self.supernodes).clip(1)
                    rate[those] = np.minimum(rate[those], per_message[at])
                else:
                    rate[those] = np.minimum(rate[those], network.uplink_bytes_per_second)
            hop = np.where(crossing, network.hop_latency_seconds, hop)
        return Routes(rate=rate, hop_seconds=hop, inside_node=inside)

    def _share_equally(self, inside: NDArray[np.bool_]) -> Floats | None:
        """What :meth:`_share_nodes` gives where all ranks send and receive, all between nodes or all inside them."""
        if not self.contention:
            return None
        network, load = self.network, self.ranks_per_node
        if inside.all():
            return _constant(network.shared_memory_bytes_per_second / load, len(inside))
        if inside.any():
            return None
        one_way, both = network.node_bytes_per_second / load, network.node_duplex_bytes_per_second / (2 * load)
        return _constant(min(one_way, both), len(inside))

    def _share_nodes(self, from_node: Ranks, to_node: Ranks, inside: NDArray[np.bool_]) -> Floats:
        """What the nodes' links and memories leave each message, bytes per second."""
        network = self.network
        if not self.contention:
            one_way = min(network.node_bytes_per_second, network.node_duplex_bytes_per_second)
            return np.where(inside, network.shared_memory_bytes_per_second, one_way)
        if inside.all():
            return (network.shared_memory_bytes_per_second / np.bincount(from_node).clip(1))[from_node]
        some = bool(inside.any())
        outside = ~inside if some else slice(None)
        leaving = np.bincount(from_node[outside], minlength=self.nodes)
        entering = np.bincount(to_node[outside], minlength=self.nodes)
        both = leaving + entering
        with np.errstate(divide="ignore"):
            one_way_out = network.node_bytes_per_second / leaving
            one_way_in = network.node_bytes_per_second / entering
            duplex = network.node_duplex_bytes_per_second / both
        sending, receiving = np.minimum(one_way_out, duplex), np.minimum(one_way_in, duplex)
        rate = np.minimum(sending[from_node], receiving[to_node])
        if some:
            place = from_node[inside]
            load = np.bincount(place, minlength=self.nodes)[place]
            rate[inside] = network.shared_memory_bytes_per_second / load
        return rate

    def latency(self, routes: Routes, size: NDArray[np.int64]) -> Floats:
        """Seconds before the first byte: by protocol (eager below the limit, else rendezvous) and hops."""
        network = self.network
        limit = network.eager_limit_bytes
        eager, rendezvous = network.eager_latency_seconds, network.rendezvous_latency_seconds
        protocol: Floats | float
        if len(size) and int(size.max()) < limit:
            protocol = eager
        elif len(size) and int(size.min()) >= limit:
            protocol = rendezvous
        else:
            protocol = np.where(size < limit, eager, rendezvous)
        if isinstance(protocol, float) and routes.hop_seconds.strides == (0,) and len(size):
            found: Floats = _constant(float(routes.hop_seconds[0]) + protocol, len(size))
        else:
            found = routes.hop_seconds + protocol
        if routes.inside_node.any():
            found = np.where(routes.inside_node, network.shared_memory_latency_seconds, found)
        return found


def _constant(value: float, length: int) -> Floats:
    """An array of equal numbers that takes no memory."""
    return np.broadcast_to(np.float64(value), length)
