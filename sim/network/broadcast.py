"""Broadcasts from rank 0 and reductions to it, by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.network.butterfly import fold, half, usable_ranks
from sim.network.ring import chain, half_ring, half_ring_in_turns
from sim.network.schedule import Ranks, Step
from sim.network.tree import binomial_broadcast, binomial_gather, binomial_reduce, binomial_scatter


def tree_broadcast(*, ranks: int, elements: int) -> Iterator[Step]:
    """Whole messages down a binomial tree."""
    return binomial_broadcast(group=ranks, elements=elements, **_whole(ranks))


def tree_reduce(*, ranks: int, elements: int) -> Iterator[Step]:
    """Whole messages up a binomial tree."""
    return binomial_reduce(group=ranks, elements=elements, **_whole(ranks))


def scatter_doubling(*, ranks: int, elements: int) -> Iterator[Step]:
    """Scatter parts down a tree, then collect all by doubling; ranks that no radix divides get the whole at the end."""
    core = usable_ranks(ranks)
    bounds = np.arange(core + 1) * elements // core
    yield from binomial_scatter(bounds=bounds)
    yield from half(bounds=bounds, members=np.arange(core), far_first=True, halving=False, everyone=core == ranks)
    yield from fold(ranks=ranks, core=core, elements=elements, inward=False)


def scatter_ring(*, ranks: int, elements: int) -> Iterator[Step]:
    """Scatter parts down a tree, then pass them around a ring."""
    bounds = np.arange(ranks + 1) * elements // ranks
    yield from binomial_scatter(bounds=bounds)
    yield from half_ring(bounds=bounds, reduce=False, first=0)


def scatter_ring_in_turns(*, ranks: int, elements: int) -> Iterator[Step]:
    """As :func:`scatter_ring`, the ring in one step of many turns."""
    yield from binomial_scatter(bounds=np.arange(ranks + 1) * elements // ranks)
    yield from half_ring_in_turns(ranks=ranks, elements=elements, reduce=False)


def segmented_chain(*, ranks: int, elements: int, segments: int) -> Iterator[Step]:
    """Segments along a chain of ranks, each passed on while the next one arrives."""
    return chain(ranks=ranks, elements=elements, segments=segments)


def halving_gather(*, ranks: int, elements: int) -> Iterator[Step]:
    """Add up parts by halving, then gather them up a tree."""
    core = usable_ranks(ranks)
    bounds = np.arange(core + 1) * elements // core
    yield from fold(ranks=ranks, core=core, elements=elements, inward=True)
    yield from half(bounds=bounds, members=np.arange(core), far_first=True, halving=True, everyone=core == ranks)
    yield from binomial_gather(bounds=bounds)


def _whole(ranks: int) -> dict[str, Ranks]:
    return {"heads": np.zeros(1, dtype=np.int64), "sizes": np.array([ranks])}
