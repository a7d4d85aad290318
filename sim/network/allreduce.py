"""All-reduce algorithms by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from sim.network.butterfly import (
    exchanges,
    fold,
    halving_doubling,
    power_of_two,
    recursive_doubling,
    usable_ranks,
)
from sim.network.exchange import Exchange
from sim.network.pairwise import server
from sim.network.ring import ring
from sim.network.schedule import Ranks, Step
from sim.network.topology import Topology
from sim.network.tree import binomial_broadcast, binomial_reduce

RING_LIMIT = 4096
"""Most ranks of an algorithm that has about as many steps, and they differ."""

Build = Callable[[Topology, int], Iterator[Step]]


def _halving(topology: Topology, elements: int, *, far_first: bool) -> Iterator[Step]:
    ranks = topology.ranks
    core = usable_ranks(ranks)
    yield from fold(ranks=ranks, core=core, elements=elements, inward=True)
    yield from halving_doubling(
        ranks=core, elements=elements, members=np.arange(core), far_first=far_first, everyone=core == ranks
    )
    yield from fold(ranks=ranks, core=core, elements=elements, inward=False)


def _near(topology: Topology, elements: int) -> Iterator[Step]:
    return _halving(topology, elements, far_first=False)


def exchanges_of(name: str, *, ranks: int, elements: int) -> Callable[[], Iterator[Exchange]] | None:
    """The exchanges of algorithm ``name``, if neighbours do alike in it."""
    # parts of no elements are not sent, by some ranks only
    if name != "halving_doubling" or not usable_ranks(ranks) == ranks <= elements:
        return None
    return lambda: exchanges(ranks=ranks, elements=elements)


def _far(topology: Topology, elements: int) -> Iterator[Step]:
    return _halving(topology, elements, far_first=True)


def _round_robin(topology: Topology, elements: int) -> Iterator[Step]:
    """Far ranks first after renumbering supernode by supernode in turn (SWCAFFE section V.A): far ranks are near."""
    core = usable_ranks(topology.ranks)
    order = renumbered(topology)
    members, surplus = order[:core], order[core:]
    begin, end = np.zeros(len(surplus), dtype=np.int64), np.full(len(surplus), elements)
    if len(surplus):
        yield Step(surplus, members[: len(surplus)], begin, end, True, "fold")
    yield from halving_doubling(ranks=core, elements=elements, members=members, far_first=True)
    if len(surplus):
        yield Step(members[: len(surplus)], surplus, begin, end, False, "unfold")


def renumbered(topology: Topology) -> Ranks:
    """All ranks, one of each supernode in turn."""
    at = np.arange(topology.ranks)
    return np.lexsort((at // topology.supernode_ranks, at % topology.supernode_ranks))


def _server(topology: Topology, elements: int) -> Iterator[Step]:
    return server(ranks=topology.ranks, elements=elements)


def _doubling(topology: Topology, elements: int) -> Iterator[Step]:
    core = power_of_two(topology.ranks)
    yield from fold(ranks=topology.ranks, core=core, elements=elements, inward=True)
    yield from recursive_doubling(ranks=core, elements=elements, everyone=core == topology.ranks)
    yield from fold(ranks=topology.ranks, core=core, elements=elements, inward=False)


def _ring(topology: Topology, elements: int) -> Iterator[Step]:
    return ring(ranks=topology.ranks, elements=elements)


def _tree(topology: Topology, elements: int) -> Iterator[Step]:
    whole = {"heads": np.zeros(1, dtype=np.int64), "sizes": np.array([topology.ranks])}
    yield from binomial_reduce(group=topology.ranks, elements=elements, **whole)
    yield from binomial_broadcast(group=topology.ranks, elements=elements, **whole)


def _hierarchical(topology: Topology, elements: int) -> Iterator[Step]:
    """Each supernode adds up at its leader, the leaders all-reduce, and each leader spreads the result."""
    group = min(topology.supernode_ranks, topology.ranks)
    heads = np.arange(0, topology.ranks, group)
    sizes = np.minimum(group, topology.ranks - heads)
    yield from binomial_reduce(group=group, heads=heads, sizes=sizes, elements=elements)
    core = usable_ranks(len(heads))
    begin, end = np.zeros(len(heads) - core, dtype=np.int64), np.full(len(heads) - core, elements)
    surplus, partner = heads[core:], heads[: len(heads) - core]
    if len(surplus):
        yield Step(surplus, partner, begin, end, True, "leaders in")
    yield from halving_doubling(ranks=core, elements=elements, members=heads[:core], far_first=False)
    if len(surplus):
        yield Step(partner, surplus, begin, end, False, "leaders out")
    yield from binomial_broadcast(group=group, heads=heads, sizes=sizes, elements=elements)


ALGORITHMS: Final[Mapping[str, Build]] = {
    "halving_doubling": _near,
    "halving_doubling_far": _far,
    "halving_doubling_round_robin": _round_robin,
    "recursive_doubling": _doubling,
    "ring": _ring,
    "hierarchical": _hierarchical,
    "binomial_tree": _tree,
    "parameter_server": _server,
}
