"""The collectives of a strategy as schedules among ranks 0 to n - 1 of a group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sim.machine.network_spec import NetworkSpec, TwoLevelTreeSpec
from sim.network.choices import REDUCE_BROADCAST
from sim.network.collectives import collective
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Collectives:
    """All-reduce by ``algorithm``, reduce-scatter by halving, all-gather by doubling, among ranks of ``network``.

    ``reduce_broadcast`` becomes an all-reduce by the same tree. Elements have ``item_bytes`` bytes. ``apart``: ranks of
    a group are so many of the machine's ranks from one another, of which a node has ``ranks_per_node``.
    """

    algorithm: str
    network: NetworkSpec
    item_bytes: int = 8
    ranks_per_node: int = 1

    def all_reduce(self, *, ranks: int, elements: int, apart: int = 1) -> Schedule:
        """Every rank's sum. Raises BadInput for an unknown algorithm."""
        algorithm = "binomial_tree" if self.algorithm == REDUCE_BROADCAST else self.algorithm
        return self._schedule("allreduce", algorithm, ranks, elements, apart)

    def sum_at_first(self, *, ranks: int, elements: int, apart: int = 1) -> Schedule:
        """Rank 0's sum."""
        return self._schedule("reduce", "binomial_tree", ranks, elements, apart)

    def sums(self, *, ranks: int, elements: int, apart: int = 1) -> tuple[Schedule, ...]:
        """What the library does one after the other for every rank's sum. Raises BadInput for an unknown algorithm."""
        if self.algorithm != REDUCE_BROADCAST:
            return (self.all_reduce(ranks=ranks, elements=elements, apart=apart),)
        down = self._schedule("broadcast", "mpich", ranks, elements, apart)
        return self.sum_at_first(ranks=ranks, elements=elements, apart=apart), down

    def reduce_scatter(self, *, ranks: int, elements: int, apart: int = 1) -> Schedule:
        """Each rank's part of the sum, as :func:`shards` divides it."""
        return self._schedule("reduce_scatter", "halving", ranks, elements, apart)

    def all_gather(self, *, ranks: int, elements: int, apart: int = 1) -> Schedule:
        """On every rank the parts of all, as :func:`shards` divides them."""
        return self._schedule("allgather", "doubling", ranks, elements, apart)

    def _schedule(self, operation: str, algorithm: str, ranks: int, elements: int, apart: int) -> Schedule:
        topology = _near_by(self.network, ranks=ranks, apart=apart, ranks_per_node=self.ranks_per_node)
        return collective(operation, algorithm, topology=topology, elements=elements, item_bytes=self.item_bytes)


def _near_by(network: NetworkSpec, *, ranks: int, apart: int, ranks_per_node: int) -> Topology:
    """As many ranks of a group in each supernode as there are on the machine: what schedules are made for."""
    neighbours = network.topology.neighbours
    near = ranks if neighbours is None else max(1, neighbours * ranks_per_node // apart)
    tree = TwoLevelTreeSpec(
        supernode_nodes=near,
        central_switches=1,
        links_per_switch=1,
        uplink_bytes_per_second=network.link.node_bytes_per_second,
        hop_latency_seconds=0.0,
    )
    return Topology(network=replace(network, nodes=ranks, topology=tree), nodes=ranks)


def shards(*, ranks: int, elements: int) -> list[tuple[int, int]]:
    """Begin and end of each rank's part of so many elements."""
    bounds = [rank * elements // ranks for rank in range(ranks + 1)]
    return list(pairwise(bounds))


def point_to_point(*, elements: int) -> Schedule:
    """Rank 0 sends all it has to rank 1."""
    place = np.zeros(1, dtype=np.int64)
    step = Step(place, place + 1, place, np.full(1, elements), False, "point_to_point")
    return Schedule(name="point_to_point", ranks=2, elements=elements, steps=lambda: iter((step,)))
