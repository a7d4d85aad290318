"""Whether links were shared as a step shares them: evenly, by all its messages, from begin to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.network.fabrics.fabric import Crossing
from sim.network.routes import Routes
from sim.network.topology import Topology

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]


ROUNDING: Final = 1e-12
"""Times and rates that differ by less than this part are equal."""
WATCHED_RANKS: Final = 16_384
"""Most ranks for which it is known when each link was free again."""


@dataclass(frozen=True)
class _Past:
    """Messages that all ended at one moment, and the routes they took."""

    source: Ranks
    destination: Ranks
    routes: Routes
    end: float


class SharingWatch:
    """Follows a collective step by step until links are shared in a way that a step cannot know.

    It can where the messages on every link are equally fast, begin and end together, and no message of an earlier step
    is still on it. Then the times are those of max-min fair flows: each message's tightest link is full, with none
    faster on it. Of very many ranks a step that begins before all earlier ones are over counts as shared, though it may
    use other links.
    """

    def __init__(self, topology: Topology) -> None:
        self.exact = topology.contention
        self._topology = topology
        self._over = -np.inf
        # while steps begin and end as one it is enough to remember the last of each kind
        self._past: dict[int, _Past] = {}
        self._free: list[Floats] | None = None

    def step(self, *, source: Ranks, destination: Ranks, begin: Floats, end: Floats, routes: Routes) -> None:
        """Messages from ``begin`` to ``end`` in seconds, all of shape (messages,)."""
        first, last = float(begin.min()), float(end.max())
        slack = ROUNDING * abs(last)
        together = float(begin.max()) - first <= slack and last - float(end.min()) <= slack and _equal(routes.rate)
        if self._free is None and together and first >= self._over - slack:
            if self._topology.ranks <= WATCHED_RANKS:
                self._past[id(routes)] = _Past(source, destination, routes, last)
        else:
            if self._free is None:
                self._free = self._all_free()
            self.exact = self._link_by_link(source, destination, begin, end, routes.rate, slack)
        self._over = max(self._over, last)

    def _all_free(self) -> list[Floats]:
        """When each link of each kind was free again."""
        known = self._topology.ranks <= WATCHED_RANKS
        free = [np.full(kind.count, -np.inf if known else self._over) for kind in self._topology.kinds]
        for past in self._past.values():
            for crossing in self._topology.crossings(past.source, past.destination):
                np.maximum.at(free[crossing.kind], crossing.link, past.end)
        self._past = {}
        return free

    def turns(self, clocks: Floats, seconds: Floats, routes: Routes) -> None:
        """A ring of messages of ``seconds`` (ranks,) turned many times from ``clocks``."""
        equal = _equal(clocks) and _equal(seconds) and _equal(routes.rate)
        self.exact = self.exact and equal and bool(clocks.min() >= self._over * (1 - ROUNDING))

    def _link_by_link(
        self, source: Ranks, destination: Ranks, begin: Floats, end: Floats, rate: Floats, slack: float
    ) -> bool:
        """Whether it is so on every link; notes until when each is in use."""
        crossings = self._topology.crossings(source, destination)
        fastest = ROUNDING * float(rate.max())
        spans = []
        for values, most_apart in ((begin, slack), (end, slack), (rate, fastest)):
            spans.append(self._bounds(crossings, values))
            if any((most - least > most_apart).any() for least, most in spans[-1].values()):
                return False
        assert self._free is not None
        for kind, (first_begin, _) in spans[0].items():
            free, last_end = self._free[kind], spans[1][kind][1]
            if (first_begin < free - slack).any():
                return False
            np.maximum(free, last_end, out=free)
        return True

    def _bounds(self, crossings: list[Crossing], values: Floats) -> dict[int, tuple[Floats, Floats]]:
        """The least and the most of the messages' ``values`` on each link of each kind; of none inf and -inf."""
        bounds: dict[int, tuple[Floats, Floats]] = {}
        for crossing in crossings:
            if crossing.kind not in bounds:
                count = self._topology.kinds[crossing.kind].count
                bounds[crossing.kind] = np.full(count, np.inf), np.full(count, -np.inf)
            least, most = bounds[crossing.kind]
            each = values if crossing.message is None else values[crossing.message]
            np.minimum.at(least, crossing.link, each)
            np.maximum.at(most, crossing.link, each)
        return bounds


def _equal(values: Floats) -> bool:
    """To rounding."""
    return bool(values.min() >= values.max() * (1 - ROUNDING))
