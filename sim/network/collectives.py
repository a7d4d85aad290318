"""Collectives by operation and algorithm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from sim.network.allreduce import ALGORITHMS, RING_LIMIT, exchanges_of
from sim.network.broadcast import (
    halving_gather,
    scatter_doubling,
    scatter_ring,
    scatter_ring_in_turns,
    segmented_chain,
    tree_broadcast,
    tree_reduce,
)
from sim.network.mpich import allreduce_algorithm, broadcast_algorithm
from sim.network.pairwise import pairwise_all_to_all, pairwise_reduce_scatter
from sim.network.parts import doubling, halving
from sim.network.ring import half_ring, half_ring_in_turns, ring_in_turns
from sim.network.schedule import Schedule, Step
from sim.network.switches import in_network
from sim.network.topology import Topology
from sim.network.tree import binomial_gather, binomial_scatter
from sim.problems import BadInput, Problem, nearest

DEFAULT_SEGMENTS: Final = 16
"""Parts of a message that a chain has under way at a time, if nothing else is said."""

Build = Callable[[Topology, int, int], Iterator[Step]]
"""From topology, elements and segments."""
Switch = Callable[..., str]


def _plain(build: Callable[..., Iterator[Step]]) -> Build:
    return lambda topology, elements, segments: build(ranks=topology.ranks, elements=elements)


def _by_parts(build: Callable[..., Iterator[Step]], **options: object) -> Build:
    def steps(topology: Topology, elements: int, segments: int) -> Iterator[Step]:
        return build(bounds=np.arange(topology.ranks + 1) * elements // topology.ranks, **options)

    return steps


def _chain(topology: Topology, elements: int, segments: int) -> Iterator[Step]:
    return segmented_chain(ranks=topology.ranks, elements=elements, segments=segments)


def _allreduce(name: str) -> Build:
    return lambda topology, elements, segments: ALGORITHMS[name](topology, elements)


def _in_network(topology: Topology, elements: int, segments: int) -> Iterator[Step]:
    return in_network(topology, elements)


OPERATIONS: Final[Mapping[str, Mapping[str, Build]]] = MappingProxyType(
    {
        "allreduce": {**{name: _allreduce(name) for name in ALGORITHMS}, "in_network": _in_network},
        "broadcast": {
            "binomial_tree": _plain(tree_broadcast),
            "scatter_doubling": _plain(scatter_doubling),
            "scatter_ring": _plain(scatter_ring),
            "chain": _chain,
        },
        "scatter": {"binomial_tree": _by_parts(binomial_scatter)},
        "gather": {"binomial_tree": _by_parts(binomial_gather)},
        "reduce": {"binomial_tree": _plain(tree_reduce), "halving_gather": _plain(halving_gather)},
        "reduce_scatter": {
            "halving": _plain(halving),
            "ring": _by_parts(half_ring, reduce=True, first=-1),
            "pairwise": _by_parts(pairwise_reduce_scatter),
        },
        "allgather": {"doubling": _plain(doubling), "ring": _by_parts(half_ring, reduce=False, first=0)},
        "alltoall": {"pairwise": _by_parts(pairwise_all_to_all)},
    }
)
SHORTENED: Final[Mapping[tuple[str, str], Callable[..., Iterator[Step]]]] = MappingProxyType(
    {
        ("allreduce", "ring"): ring_in_turns,
        ("broadcast", "scatter_ring"): scatter_ring_in_turns,
        ("reduce_scatter", "ring"): partial(half_ring_in_turns, reduce=True),
        ("allgather", "ring"): partial(half_ring_in_turns, reduce=False),
    }
)
"""What many ranks are timed by: a ring's many equal steps at once."""
SWITCHES: Final[Mapping[str, Switch]] = MappingProxyType(
    {"allreduce": allreduce_algorithm, "broadcast": broadcast_algorithm}
)
"""Operations for which the MPI library chooses by itself: algorithm ``mpich``."""
LINEAR: Final = ("chain", "pairwise", "parameter_server")
"""Algorithms with about as many steps as ranks, all different."""


def operation_name(word: str) -> str:
    """The name of an operation that may be written ``all-reduce``, ``AllReduce`` or ``all_reduce``.

    Raises BadInput for another word.
    """
    letters = re.sub(r"[^a-z]", "", word.lower())
    names = {re.sub("_", "", name): name for name in OPERATIONS}
    if letters in names:
        return names[letters]
    expected = f"a collective ({', '.join(OPERATIONS)})"
    near = nearest(letters, names)
    raise BadInput([Problem(file="OP", key="", value=word, expected=expected, nearest=near and names[near])])


def algorithms(operation: str) -> tuple[str, ...]:
    """The algorithms of ``operation``."""
    return (*OPERATIONS[operation], *(("mpich",) if operation in SWITCHES else ()))


def collective(
    operation: str,
    algorithm: str,
    *,
    topology: Topology,
    elements: int,
    item_bytes: int = 1,
    segments: int = DEFAULT_SEGMENTS,
) -> Schedule:
    """The schedule of ``algorithm`` for ``operation`` over all ranks of ``topology``.

    Broadcasts and scatters begin, reductions and gathers end at rank 0. Where there are parts, part i is rank i's;
    in alltoall rank i's part j becomes rank j's part i, and ``elements`` must be a multiple of the ranks. ``mpich``
    takes what MPICH takes for so many elements of ``item_bytes``.

    Raises BadInput for an unknown algorithm, and for more ranks than one with a step per rank can have.
    """
    if algorithm == "mpich" and operation in SWITCHES:
        algorithm = SWITCHES[operation](ranks=topology.ranks, size=elements * item_bytes)
    builds = OPERATIONS[operation]
    build = builds.get(algorithm)
    ranks = topology.ranks
    problems = []
    if build is None:
        names = algorithms(operation)
        near = nearest(algorithm, names)
        expected = f"an algorithm of {operation} ({', '.join(names)})"
        problems.append(Problem(file="collective", key="", value=algorithm, expected=expected, nearest=near))
    elif algorithm in LINEAR and ranks > RING_LIMIT:
        expected = (
            f"at most {RING_LIMIT:,} ranks for {algorithm}, whose steps are about as many as ranks and all "
            f"different, not {ranks:,}"
        )
        problems.append(Problem(file="collective", key="", value=algorithm, expected=expected))
    if operation == "alltoall" and elements % ranks:
        expected = f"a multiple of the {ranks:,} ranks"
        problems.append(Problem(file="collective", key="elements", value=elements, expected=expected))
    if problems or build is None:
        raise BadInput(problems)
    made, short = build, SHORTENED.get((operation, algorithm))
    return Schedule(
        name=f"{operation} {algorithm}",
        ranks=ranks,
        elements=elements,
        steps=lambda: made(topology, elements, segments),
        copied=operation == "alltoall",
        structure=(operation, algorithm, segments),
        shortened=short and (lambda: short(ranks=ranks, elements=elements)),
        exchanges=exchanges_of(algorithm, ranks=ranks, elements=elements) if operation == "allreduce" else None,
    )
