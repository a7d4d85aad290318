"""Exchanges of every rank with every other, one partner a step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.network.schedule import Ranks, Step


def pairwise_reduce_scatter(*, bounds: Ranks) -> Iterator[Step]:
    """Each rank adds its own part of all others': part i ends at ``bounds[i + 1]``."""
    ranks = len(bounds) - 1
    place = np.arange(ranks)
    for shift in range(1, ranks):
        peer = (place + shift) % ranks
        yield Step(place, peer, bounds[peer], bounds[peer + 1], True, ("pairwise", shift), everyone=True)


def pairwise_all_to_all(*, bounds: Ranks) -> Iterator[Step]:
    """Rank i gives part j to rank j, which puts it at part i of its copy. All parts must have the same length."""
    ranks, elements = len(bounds) - 1, int(bounds[-1])
    place = np.arange(ranks)
    for shift in range(1, ranks):
        peer = (place + shift) % ranks
        begin, end = bounds[peer], bounds[peer + 1]
        into = elements + bounds[place]
        yield Step(place, peer, begin, end, False, ("pairwise", shift), everyone=True, into=into)


def server(*, ranks: int, elements: int) -> Iterator[Step]:
    """All-reduce at a parameter server: rank 0 adds what the others send in turn, then sends each the sum."""
    begin, end = np.zeros(1, dtype=np.int64), np.full(1, elements)
    centre = np.zeros(1, dtype=np.int64)
    for rank in range(1, ranks):
        yield Step(np.full(1, rank), centre, begin, end, True, ("push", rank))
    for rank in range(1, ranks):
        yield Step(centre, np.full(1, rank), begin, end, False, ("pull", rank))
