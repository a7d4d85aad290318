"""All-reduce algorithms by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from sim.network.butterfly import fold, halving_doubling, power_of_two, recursive_doubling, usable_ranks
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology
from sim.network.tree import binomial_broadcast, binomial_reduce, ring
from sim.problems import BadInput, Problem, nearest

RING_LIMIT = 4096
"""Most ranks of a ring: each of its 2(p − 1) steps touches all p clocks."""

Build = Callable[[Topology, int], Iterator[Step]]


def allreduce(name: str, *, topology: Topology, elements: int) -> Schedule:
    """The schedule of algorithm ``name`` over all ranks of ``topology``.

    Raises BadInput for an unknown name, and for a ring of more than 4,096 ranks.
    """
    build = ALGORITHMS.get(name)
    if build is None:
        expected = f"an all-reduce algorithm ({', '.join(ALGORITHMS)})"
        near = nearest(name, ALGORITHMS)
        raise BadInput([Problem(file="collective", key="", value=name, expected=expected, nearest=near)])
    ranks = topology.ranks
    if name == "ring" and ranks > RING_LIMIT:
        expected = (
            f"at most {RING_LIMIT:,} ranks for a ring, whose 2(p - 1) steps touch p clocks each, not {ranks:,}; "
            "halving_doubling moves as few bytes in far fewer steps"
        )
        raise BadInput([Problem(file="collective", key="", value="ring", expected=expected)])
    return Schedule(name=name, ranks=ranks, elements=elements, steps=lambda: build(topology, elements))


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


def _far(topology: Topology, elements: int) -> Iterator[Step]:
    return _halving(topology, elements, far_first=True)


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
    "recursive_doubling": _doubling,
    "ring": _ring,
    "hierarchical": _hierarchical,
    "binomial_tree": _tree,
}
