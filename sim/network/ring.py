"""Rings and chains: every message goes to the next rank."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.network.schedule import Ranks, Step


def ring(*, ranks: int, elements: int) -> Iterator[Step]:
    """All-reduce around a ring: ``ranks - 1`` steps add, as many pass the sums on."""
    bounds = np.arange(ranks + 1) * elements // ranks
    yield from half_ring(bounds=bounds, reduce=True, first=0)
    yield from half_ring(bounds=bounds, reduce=False, first=1)


def ring_in_turns(*, ranks: int, elements: int) -> Iterator[Step]:
    """As :func:`ring`, in two steps of many turns."""
    yield from half_ring_in_turns(ranks=ranks, elements=elements, reduce=True)
    yield from half_ring_in_turns(ranks=ranks, elements=elements, reduce=False)


def half_ring_in_turns(*, ranks: int, elements: int, reduce: bool) -> Iterator[Step]:
    """As :func:`half_ring` over all ranks, in one step of many turns; every part is as long as the longest."""
    place = np.arange(ranks)
    begin, end = np.zeros(ranks, dtype=np.int64), np.full(ranks, -(-elements // ranks))
    if ranks > 1 and elements:
        yield Step(place, (place + 1) % ranks, begin, end, reduce, "ring", everyone=True, turns=ranks - 1)


def half_ring(*, bounds: Ranks, reduce: bool, first: int) -> Iterator[Step]:
    """Each rank i passes on part ``i + first`` first, then what came last; part i ends at ``bounds[i + 1]``.

    Adding with ``first`` -1 leaves each rank the sum of its own part; not adding, with 0, collects all own parts.
    """
    ranks = len(bounds) - 1
    place = np.arange(ranks)
    follower = (place + 1) % ranks
    for turn in range(ranks - 1):
        chunk = (place + first - turn) % ranks
        yield Step(place, follower, bounds[chunk], bounds[chunk + 1], reduce, "ring", everyone=True)


def chain(*, ranks: int, elements: int, segments: int) -> Iterator[Step]:
    """Broadcast from rank 0 along a chain in ``segments`` parts, each passed on while the next one arrives."""
    bounds = np.arange(segments + 1) * elements // segments
    for turn in range(ranks + segments - 2 if ranks > 1 else 0):
        first = max(0, turn - segments + 1)
        source = np.arange(first, min(turn, ranks - 2) + 1)
        part = turn - source
        yield Step(source, source + 1, bounds[part], bounds[part + 1], False, ("chain", turn))
