"""Binomial trees and rings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.network.schedule import Ranks, Step


def binomial_reduce(*, group: int, heads: Ranks, sizes: Ranks, elements: int) -> Iterator[Step]:
    """Add up each group at its head: group i is ``sizes[i]`` ranks from ``heads[i]`` on, at most ``group``."""
    distance = 1
    while distance < group:
        yield _tree_step(distance=distance, heads=heads, sizes=sizes, elements=elements, inward=True)
        distance *= 2


def binomial_broadcast(*, group: int, heads: Ranks, sizes: Ranks, elements: int) -> Iterator[Step]:
    """Give each group what its head holds: the reduce's messages backwards."""
    distance = 1
    while distance * 2 < group:
        distance *= 2
    while group > 1 and distance >= 1:
        yield _tree_step(distance=distance, heads=heads, sizes=sizes, elements=elements, inward=False)
        distance //= 2


def ring(*, ranks: int, elements: int) -> Iterator[Step]:
    """All-reduce around a ring: ``ranks − 1`` steps add, as many pass the sums on."""
    place = np.arange(ranks)
    follower = (place + 1) % ranks
    bounds = np.arange(ranks + 1) * elements // ranks
    for reduce, offset in ((True, 0), (False, 1)):
        for turn in range(ranks - 1):
            chunk = (place + offset - turn) % ranks
            yield Step(place, follower, bounds[chunk], bounds[chunk + 1], reduce, "ring")


def _tree_step(*, distance: int, heads: Ranks, sizes: Ranks, elements: int, inward: bool) -> Step:
    """The pairs ``distance`` apart: multiples of ``2·distance`` and their partners, within every group."""
    lower, upper = [], []
    for head, size in zip(heads.tolist(), sizes.tolist(), strict=True):
        first = np.arange(0, max(size - distance, 0), 2 * distance)
        lower.append(head + first)
        upper.append(head + first + distance)
    near, far = np.concatenate(lower), np.concatenate(upper)
    begin, end = np.zeros(len(near), dtype=np.int64), np.full(len(near), elements)
    source, destination = (far, near) if inward else (near, far)
    return Step(source, destination, begin, end, inward, ("tree", distance, inward, len(heads)))
