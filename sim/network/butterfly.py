"""All-reduce by recursive halving and doubling in mixed radix, and by recursive doubling.

Halving: in each stage the ranks of a group of f, ``stride`` apart, divide what they hold into f parts and each
collects its own part from the others, in f − 1 exchanges. Doubling runs the same stages backwards and collects
everyone's parts. With factors 2, 3, 5 and 7 it covers 40,960 = 2^13·5 and 163,840 = 2^15·5 ranks without folding.

Near first: the first stage, with the largest messages, joins neighbours. On consecutive ranks all but 1/256 of the
traffic then stays inside supernodes, as with the round-robin renumbering of SWCAFFE §V.A.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from sim.network.exchange import Exchange, peers
from sim.network.schedule import Ranks, Step

RADICES = (2, 3, 5, 7)


@dataclass(frozen=True)
class Stage:
    """Groups of ``radix`` ranks ``stride`` apart; a part is ``width`` chunks."""

    radix: int
    stride: int
    width: int


def usable_ranks(ranks: int) -> int:
    """The largest count up to ``ranks`` whose prime factors are all radices."""
    count = ranks
    while _rest(count) != 1:
        count -= 1
    return count


def power_of_two(ranks: int) -> int:
    """The largest power of two up to ``ranks``."""
    return 1 << (ranks.bit_length() - 1)


def stages(*, ranks: int, far_first: bool) -> list[Stage]:
    """The stages in order; their radices multiply to ``ranks``. Twos come next to each other, then the others."""
    factors = []
    rest = ranks
    for radix in RADICES:
        while rest % radix == 0:
            factors.append(radix)
            rest //= radix
    strides = [1]
    for factor in factors[:-1]:
        strides.append(strides[-1] * factor)
    order = list(zip(factors, strides, strict=True)) if factors else []
    if far_first:
        order.reverse()
    found, width = [], ranks
    for radix, stride in order:
        width //= radix
        found.append(Stage(radix=radix, stride=stride, width=width))
    return found


def halving_doubling(
    *, ranks: int, elements: int, members: Ranks, far_first: bool, everyone: bool = False
) -> Iterator[Step]:
    """All-reduce among ``members`` (their rank numbers in order); ``ranks`` must have radices as factors only.

    ``everyone``: the members are all ranks there are, in order.
    """
    bounds = np.arange(ranks + 1) * elements // ranks
    for halving in (True, False):
        yield from half(bounds=bounds, members=members, far_first=far_first, halving=halving, everyone=everyone)


def exchanges(*, ranks: int, elements: int) -> Iterator[Exchange]:
    """The all-reduce of all ranks near first, as :func:`halving_doubling`."""
    bounds = np.arange(ranks + 1) * elements // ranks
    for halving in (True, False):
        for number, stage, shift, begin, end in _turns(bounds, far_first=False, halving=halving):
            yield Exchange(
                radix=stage.radix,
                stride=stage.stride,
                shift=shift,
                begin=begin,
                end=end,
                reduce=halving,
                pattern=(_name(0, ranks - 1, ranks, far_first=False, everyone=True), number, shift),
            )


def half(*, bounds: Ranks, members: Ranks, far_first: bool, halving: bool, everyone: bool = False) -> Iterator[Step]:
    """Only the halving, which leaves each member the sum of its part, or only the doubling, which collects all parts.

    Part i ends at ``bounds[i + 1]``. Far first, member i has part i; near first, digits count backwards.
    """
    ranks = len(bounds) - 1
    ends = (int(members[0]), int(members[-1])) if len(members) else (0, 0)
    name = _name(*ends, ranks, far_first=far_first, everyone=everyone)
    for number, stage, shift, begin, end in _turns(bounds, far_first=far_first, halving=halving):
        yield Step(
            source=members,
            destination=peers(members, stage.radix, stage.stride, shift),
            begin=np.repeat(begin, stage.stride) if far_first else _tiled(begin, ranks),
            end=np.repeat(end, stage.stride) if far_first else _tiled(end, ranks),
            reduce=halving,
            pattern=(name, number, shift),
            everyone=everyone,
        )


def _turns(bounds: Ranks, *, far_first: bool, halving: bool) -> Iterator[tuple[int, Stage, int, Ranks, Ranks]]:
    """Each stage with its number and each shift in it, and the elements sent: as many bounds as :func:`_lows` gives."""
    for number, stage, shift, first, behind in _parts_sent(len(bounds) - 1, far_first=far_first, halving=halving):
        yield number, stage, shift, bounds[first], bounds[behind]


@lru_cache(maxsize=2)
def _parts_sent(ranks: int, *, far_first: bool, halving: bool) -> tuple[tuple[int, Stage, int, Ranks, Ranks], ...]:
    """As :func:`_turns`, but the first part sent and the one behind the last: the same however long parts are."""
    plan = stages(ranks=ranks, far_first=far_first)
    lows = list(_lows(plan, far_first=far_first))
    found = []
    for number in range(len(plan)) if halving else reversed(range(len(plan))):
        stage, low = plan[number], lows[number]
        behind = low + stage.width
        for shift in range(1, stage.radix):
            # halving sends what the peer collects, doubling what the rank itself holds
            around = partial(peers, radix=stage.radix, stride=1 if far_first else stage.stride, shift=shift)
            first_sent, behind_sent = (around(low), around(behind)) if halving else (low, behind)
            found.append((number, stage, shift, first_sent, behind_sent))
    return tuple(found)


def _name(first: int, last: int, ranks: int, *, far_first: bool, everyone: bool) -> Hashable:
    """What says all about the messages of members ``first`` to ``last``, beside stage and shift."""
    return first, last, ranks, far_first, everyone


def _lows(plan: list[Stage], *, far_first: bool) -> Iterator[Ranks]:
    """For each stage the first part of what ranks hold after it.

    Far first, one number for ``stride`` ranks in a row; near first, those of the first ranks, which then repeat.
    """
    low = np.zeros(1, dtype=np.int64)
    for stage in plan:
        step = np.arange(stage.radix) * stage.width
        low = (low[:, None] + step if far_first else low + step[:, None]).ravel()
        yield low


def _tiled(values: Ranks, length: int) -> Ranks:
    """The values again and again."""
    return np.broadcast_to(values, (length // len(values), len(values))).reshape(length)


def recursive_doubling(*, ranks: int, elements: int, everyone: bool = False) -> Iterator[Step]:
    """All-reduce of whole messages between ranks 1, 2, 4, ... apart; ``ranks`` must be a power of two."""
    place = np.arange(ranks)
    begin, end = np.zeros(ranks, dtype=np.int64), np.full(ranks, elements)
    distance = 1
    while distance < ranks:
        yield Step(place, place ^ distance, begin, end, True, ("doubling", distance), everyone)
        distance *= 2


def fold(*, ranks: int, core: int, elements: int, inward: bool) -> Iterator[Step]:
    """Ranks from ``core`` on give all they hold to the first ones, or get the result back from them."""
    surplus = np.arange(core, ranks)
    if not len(surplus):
        return
    partner = surplus - core
    begin, end = np.zeros(len(surplus), dtype=np.int64), np.full(len(surplus), elements)
    if inward:
        yield Step(surplus, partner, begin, end, True, ("fold", core))
    else:
        yield Step(partner, surplus, begin, end, False, ("unfold", core))


def _rest(count: int) -> int:
    """What is left of ``count`` without the radices."""
    for radix in RADICES:
        while count % radix == 0:
            count //= radix
    return count
