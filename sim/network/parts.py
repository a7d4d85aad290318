"""Reduce-scatter and all-gather: every rank has a part, part i ending at i + 1 of ``ranks`` of the elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.network.butterfly import half, usable_ranks
from sim.network.schedule import Ranks, Step


@dataclass(frozen=True)
class _Pairs:
    """The ranks that halve and double: beside each of the first ones a ``guest`` that has one do its work.

    Neighbours pair up so that what a pair answers for is one piece; ``bounds`` are those of the members' pieces.
    """

    guests: Ranks
    hosts: Ranks
    members: Ranks
    bounds: Ranks


def halving(*, ranks: int, elements: int) -> Iterator[Step]:
    """Reduce-scatter by halving, far ranks first so that parts stay in the order of the ranks."""
    pairs, parts = _pairs(ranks, elements)
    guests, hosts = pairs.guests, pairs.hosts
    if len(guests):
        whole = np.zeros(len(guests), dtype=np.int64)
        yield Step(guests, hosts, whole, whole + elements, True, "guests in")
    yield from half(bounds=pairs.bounds, members=pairs.members, far_first=True, halving=True, everyone=not len(guests))
    if len(guests):
        yield Step(hosts, guests, parts[guests], parts[guests + 1], False, "guests out")


def doubling(*, ranks: int, elements: int) -> Iterator[Step]:
    """All-gather by doubling, near ranks first."""
    pairs, parts = _pairs(ranks, elements)
    guests, hosts = pairs.guests, pairs.hosts
    if len(guests):
        yield Step(guests, hosts, parts[guests], parts[guests + 1], False, "guests in")
    yield from half(bounds=pairs.bounds, members=pairs.members, far_first=True, halving=False, everyone=not len(guests))
    if len(guests):
        whole = np.zeros(len(guests), dtype=np.int64)
        yield Step(hosts, guests, whole, whole + elements, False, "guests out")


def _pairs(ranks: int, elements: int) -> tuple[_Pairs, Ranks]:
    """Who works for whom, and the bounds of all ranks' parts."""
    parts = np.arange(ranks + 1) * elements // ranks
    core = usable_ranks(ranks)
    surplus = ranks - core
    guests = 2 * np.arange(surplus)
    members = np.concatenate([guests + 1, np.arange(2 * surplus, ranks)])
    firsts = np.concatenate([guests, np.arange(2 * surplus, ranks), [ranks]])
    return _Pairs(guests=guests, hosts=guests + 1, members=members, bounds=parts[firsts]), parts
