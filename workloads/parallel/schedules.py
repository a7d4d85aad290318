"""The collectives of a strategy as schedules among ranks 0 to n - 1 of a group."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sim.machine.network_spec import NetworkSpec
from sim.network.choices import REDUCE_BROADCAST
from sim.network.collectives import collective
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Collectives:
    """All-reduce by ``algorithm``, reduce-scatter by halving, all-gather by doubling, among ranks of ``network``.

    ``reduce_broadcast`` becomes an all-reduce by the same tree. Elements have ``item_bytes`` bytes.
    """

    algorithm: str
    network: NetworkSpec
    item_bytes: int = 8

    def all_reduce(self, *, ranks: int, elements: int) -> Schedule:
        """Every rank's sum. Raises BadInput for an unknown algorithm."""
        algorithm = "binomial_tree" if self.algorithm == REDUCE_BROADCAST else self.algorithm
        return self._schedule("allreduce", algorithm, ranks, elements)

    def reduce_scatter(self, *, ranks: int, elements: int) -> Schedule:
        """Each rank's part of the sum, as :func:`shards` divides it."""
        return self._schedule("reduce_scatter", "halving", ranks, elements)

    def all_gather(self, *, ranks: int, elements: int) -> Schedule:
        """On every rank the parts of all, as :func:`shards` divides them."""
        return self._schedule("allgather", "doubling", ranks, elements)

    def _schedule(self, operation: str, algorithm: str, ranks: int, elements: int) -> Schedule:
        topology = Topology(network=self.network, nodes=ranks)
        return collective(operation, algorithm, topology=topology, elements=elements, item_bytes=self.item_bytes)


def shards(*, ranks: int, elements: int) -> list[tuple[int, int]]:
    """Begin and end of each rank's part of so many elements."""
    bounds = [rank * elements // ranks for rank in range(ranks + 1)]
    return list(pairwise(bounds))


def point_to_point(*, elements: int) -> Schedule:
    """Rank 0 sends all it has to rank 1."""
    place = np.zeros(1, dtype=np.int64)
    step = Step(place, place + 1, place, np.full(1, elements), False, "point_to_point")
    return Schedule(name="point_to_point", ranks=2, elements=elements, steps=lambda: iter((step,)))
