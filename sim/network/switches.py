"""All-reduce in the network: switches add what passes them, which TaihuLight's do not; for exploration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.network.schedule import Step
from sim.network.topology import Topology


def in_network(topology: Topology, elements: int) -> Iterator[Step]:
    """One message of every rank up, the sum of all down; one such message out of each supernode and one into it.

    A message to the next rank all around loads links in the same way.
    """
    ranks = topology.ranks
    if ranks == 1:
        return
    place = np.arange(ranks)
    begin, end = np.zeros(ranks, dtype=np.int64), np.full(ranks, elements)
    yield Step(
        source=place,
        destination=(place + 1) % ranks,
        begin=begin,
        end=end,
        reduce=False,
        pattern="in network",
        everyone=True,
        joint_group=min(topology.supernode_ranks, ranks),
    )
