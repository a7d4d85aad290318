"""The ranks of a job on a network: which links a message crosses, and how the messages of a step share them.

A node's link carries less both ways together than twice one way (SWCAFFE Fig. 6), the ranks of one node talk through
memory, and what lies between the nodes is a fabric (:mod:`sim.network.fabrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.machine.network_spec import NetworkSpec
from sim.network.fabrics.build import build_fabric
from sim.network.fabrics.fabric import Crossing, Fabric, LinkKind, Paths, picked
from sim.network.routes import RouteMemory, Routes
from sim.problems import BadInput, Problem

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]

NODE_OUT, NODE_IN, NODE_BOTH, MEMORY, FIRST_OF_FABRIC = range(5)
"""Numbers of the kinds of links that every node has; those of the fabric follow."""


@dataclass(frozen=True)
class SlowLink:
    """Link number ``link`` of kind number ``kind`` carries 1/``factor`` of what it should."""

    kind: int
    link: int
    factor: float


@dataclass(frozen=True)
class Topology:
    """``nodes`` nodes of ``network`` with ``ranks_per_node`` ranks each; the ranks of a node are consecutive.

    Without ``contention`` every message has its path to itself. Raises BadInput for more nodes than there are.
    """

    network: NetworkSpec
    nodes: int
    ranks_per_node: int = 1
    contention: bool = True
    slow_links: tuple[SlowLink, ...] = ()

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
    def memory_latency_seconds(self) -> float:
        """Seconds before the first byte between ranks of one node."""
        return self.network.shared_memory.latency_seconds

    @property
    def supernode_ranks(self) -> int:
        """Ranks in a full supernode, or in what comes nearest to one: lowest switch, group of routers, ring."""
        neighbours = self.network.topology.neighbours
        return (self.nodes if neighbours is None else neighbours) * self.ranks_per_node

    @property
    def supernodes(self) -> int:
        """Supernodes in use."""
        return -(-self.ranks // self.supernode_ranks)

    @cached_property
    def node_of(self) -> Ranks:
        """Node of each rank."""
        return np.repeat(np.arange(self.nodes), self.ranks_per_node)

    @cached_property
    def fabric(self) -> Fabric:
        """What lies between the nodes."""
        return build_fabric(self.network.topology, nodes=self.nodes)

    @cached_property
    def kinds(self) -> tuple[LinkKind, ...]:
        """All kinds of links. A node's link both ways together counts as one that messages out and in cross."""
        one_way, both = self.network.link.node_bytes_per_second, self.network.link.node_duplex_bytes_per_second
        memory = self.network.shared_memory.bytes_per_second
        own = (
            LinkKind(kind="node out", count=self.nodes, bytes_per_second=one_way, name="node {} out".format),
            LinkKind(kind="node in", count=self.nodes, bytes_per_second=one_way, name="node {} in".format),
            LinkKind(kind="node both ways", count=self.nodes, bytes_per_second=both, name="node {} both ways".format),
            LinkKind(kind="memory", count=self.nodes, bytes_per_second=memory, name="memory of node {}".format),
        )
        return own + self.fabric.kinds

    @cached_property
    def capacities(self) -> tuple[float | Floats, ...]:
        """Bytes per second of each kind's links: one number where all are equal, else one for each link."""
        found: list[float | Floats] = [kind.bytes_per_second for kind in self.kinds]
        for slow in self.slow_links:
            each = found[slow.kind]
            if isinstance(each, float):
                each = np.full(self.kinds[slow.kind].count, each)
                found[slow.kind] = each
            each[slow.link] = self.kinds[slow.kind].bytes_per_second / slow.factor
        return tuple(found)

    def crossings(self, source: Ranks, destination: Ranks) -> list[Crossing]:
        """Every link that messages between ranks cross, by the numbers of :attr:`kinds`."""
        from_node, to_node = self.node_of[source], self.node_of[destination]
        own = _own(from_node, to_node, from_node == to_node)
        return [*own, *_of_fabric(self.fabric.paths(from_node, to_node))]

    def routes(self, source: Ranks, destination: Ranks, *, everyone: bool = False) -> Routes:
        """Rates and hops of messages that all start together and share links evenly.

        ``everyone``: message i is of rank i, and every rank sends one and receives one.
        """
        place: Ranks | slice = slice(None) if everyone else source
        from_node, to_node = self.node_of[place], self.node_of[destination]
        inside = from_node == to_node
        paths = self.fabric.paths(from_node, to_node)
        equal = self._equal_shares(inside) if everyone else None
        if equal is not None:
            rate: Floats = np.broadcast_to(np.float64(equal), len(inside))
            crossings = _of_fabric(paths)
        else:
            rate = np.full(len(inside), np.inf)
            crossings = [*_own(from_node, to_node, inside), *_of_fabric(paths)]
        if crossings:
            rate = self._shares(rate, crossings)
        return Routes(rate=rate, hop_seconds=paths.seconds, inside_node=inside)

    def kept_routes(self, key: Hashable, make: Callable[[], Routes]) -> Routes:
        """What ``make`` gives by :meth:`routes`, kept under ``key`` for when the same messages come again."""
        return self._memory.get(key, make)

    @cached_property
    def _memory(self) -> RouteMemory:
        return RouteMemory()

    def routes_by_size(self, source: Ranks, destination: Ranks, size: Ranks) -> Routes:
        """As :meth:`routes`, of messages of different ``size``: the short ones leave their shares to the others."""
        routes = self.routes(source, destination)
        seconds = size / routes.rate
        if self.contention:
            alone = np.zeros(len(size))
            for kind, crossings in _by_kind(self.crossings(source, destination)):
                link = np.concatenate([crossing.link for crossing in crossings])
                every = np.arange(len(size))
                message = np.concatenate([every if each.message is None else each.message for each in crossings])
                capacity = self.capacities[kind]
                rate = capacity if isinstance(capacity, float) else capacity[link]
                np.maximum.at(alone, message, shared_bytes(link, size[message]) / rate)
            seconds = alone
        return Routes(rate=size / seconds, hop_seconds=routes.hop_seconds, inside_node=routes.inside_node)

    def _equal_shares(self, inside: NDArray[np.bool_]) -> float | None:
        """What the nodes leave each message where all ranks send and receive, all between nodes or all inside them."""
        if not self.contention or self.slow_links:
            return None
        load, network = self.ranks_per_node, self.network
        if inside.all():
            return network.shared_memory.bytes_per_second / load
        if inside.any():
            return None
        return min(network.link.node_bytes_per_second / load, network.link.node_duplex_bytes_per_second / (2 * load))

    def _shares(self, rate: Floats, crossings: list[Crossing]) -> Floats:
        """The least of ``rate`` and what each link on a message's way leaves it."""
        rate = rate.copy()
        for kind, those in _by_kind(crossings):
            share: float | Floats = self.capacities[kind]
            if self.contention:
                load = np.bincount(those[0].link, minlength=self.kinds[kind].count)
                for crossing in those[1:]:
                    load += np.bincount(crossing.link, minlength=len(load))
                share = share / load.clip(1)
            for crossing in those:
                part = share if isinstance(share, float) else share[crossing.link]
                if crossing.message is None:
                    np.minimum(rate, part, out=rate)
                else:
                    rate[crossing.message] = np.minimum(rate[crossing.message], part)
        return rate


def shared_bytes(link: Ranks, size: Ranks) -> Floats:
    """Bytes that have passed a link, all its messages served alike, when message i of ``size[i]`` is through on it.

    Message i uses ``link[i]``; of every other one there as much has passed as it is long, but no more than of i.
    """
    order = np.lexsort((size, link))
    at, ordered = link[order], size[order].astype(np.float64)
    first = np.concatenate([[True], at[1:] != at[:-1]])
    begin = np.flatnonzero(first)
    count = np.diff(np.append(begin, len(at)))
    before = np.cumsum(ordered) - ordered
    place = np.arange(len(at)) - np.repeat(begin, count)
    shorter = before - np.repeat(before[begin], count)
    found = np.empty(len(at))
    found[order] = shorter + ordered * (np.repeat(count, count) - place)
    return found


def _by_kind(crossings: list[Crossing]) -> list[tuple[int, list[Crossing]]]:
    """Crossings of each kind of link together."""
    kinds = sorted({crossing.kind for crossing in crossings})
    return [(kind, [crossing for crossing in crossings if crossing.kind == kind]) for kind in kinds]


def _own(from_node: Ranks, to_node: Ranks, inside: NDArray[np.bool_]) -> Iterator[Crossing]:
    """The nodes' own links and memories."""
    outside: Ranks | None = None
    if inside.any():
        within = np.flatnonzero(inside)
        yield Crossing(MEMORY, from_node[within], None if len(within) == len(inside) else within)
        outside = np.flatnonzero(~inside)
        if not len(outside):
            return
    out, into = picked(from_node, outside), picked(to_node, outside)
    yield Crossing(NODE_OUT, out, outside)
    yield Crossing(NODE_IN, into, outside)
    yield Crossing(NODE_BOTH, out, outside)
    yield Crossing(NODE_BOTH, into, outside)


def _of_fabric(paths: Paths) -> list[Crossing]:
    """The fabric's crossings, numbered behind the nodes' own links."""
    return [Crossing(FIRST_OF_FABRIC + each.kind, each.link, each.message) for each in paths.crossings]
