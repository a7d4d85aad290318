"""Binomial trees of whole messages, and of parts: scatter and gather."""

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


def binomial_scatter(*, bounds: Ranks) -> Iterator[Step]:
    """Give each rank its part of what rank 0 holds: part i ends at ``bounds[i + 1]``."""
    ranks = len(bounds) - 1
    distance = 1
    while distance * 2 < ranks:
        distance *= 2
    while ranks > 1 and distance >= 1:
        yield _part_step(distance=distance, bounds=bounds, inward=False)
        distance //= 2


def binomial_gather(*, bounds: Ranks) -> Iterator[Step]:
    """Collect each rank's part at rank 0: the scatter's messages backwards."""
    distance = 1
    while distance < len(bounds) - 1:
        yield _part_step(distance=distance, bounds=bounds, inward=True)
        distance *= 2


def _part_step(*, distance: int, bounds: Ranks, inward: bool) -> Step:
    """The pairs ``distance`` apart; what goes between them are the parts of all ranks below the farther one."""
    ranks = len(bounds) - 1
    near = np.arange(0, ranks - distance, 2 * distance)
    far = near + distance
    source, destination = (far, near) if inward else (near, far)
    last = np.minimum(far + distance, ranks)
    return Step(source, destination, bounds[far], bounds[last], False, ("parts", distance, inward))
