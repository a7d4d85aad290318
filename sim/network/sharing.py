"""Whether links were shared as a step shares them: evenly, by all its messages, from begin to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.network.routes import Routes
from sim.network.topology import Topology

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]


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

    It can where the messages on every link begin and end together and no message of an earlier step is still on it.
    Then the times are those of max-min fair flows. Parts that differ by one element count as equal. Of very many ranks
    a step that begins before all earlier ones are over counts as shared, though it may use other links.
    """

    def __init__(self, topology: Topology, *, item_bytes: int) -> None:
        self.exact = topology.contention
        self._topology = topology
        self._item_bytes = item_bytes
        self._slack = 0.0
        self._over = -np.inf
        # while steps begin and end as one it is enough to remember the last of each kind
        self._past: dict[int, _Past] = {}
        self._free: list[Floats] | None = None

    def step(self, *, source: Ranks, destination: Ranks, begin: Floats, end: Floats, routes: Routes) -> None:
        """Messages from ``begin`` to ``end`` in seconds, all of shape (messages,)."""
        self._slack += self._item_bytes / float(routes.rate.min())
        first, last = float(begin.min()), float(end.max())
        slack = self._slack + 1e-12 * last
        together = float(begin.max()) - first <= slack and last - float(end.min()) <= slack
        if self._free is None and together and first >= self._over - slack:
            if self._topology.ranks <= WATCHED_RANKS:
                self._past[id(routes)] = _Past(source, destination, routes, last)
        else:
            if self._free is None:
                self._free = self._all_free()
            self.exact = self._link_by_link(source, destination, begin, end, slack)
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

    def turns(self, clocks: Floats, seconds: Floats) -> None:
        """A ring of messages of ``seconds`` (ranks,) turned many times from ``clocks``."""
        equal = clocks.max() == clocks.min() and seconds.max() == seconds.min()
        self.exact = self.exact and bool(equal) and bool(clocks.min() >= self._over - self._slack)

    def _link_by_link(self, source: Ranks, destination: Ranks, begin: Floats, end: Floats, slack: float) -> bool:
        """Whether it is so on every link; notes until when each is in use."""
        spans: dict[int, tuple[Floats, Floats, Floats, Floats]] = {}
        for crossing in self._topology.crossings(source, destination):
            count = self._topology.kinds[crossing.kind].count
            if crossing.kind not in spans:
                most, least = np.full(count, np.inf), np.full(count, -np.inf)
                spans[crossing.kind] = (most, least, most.copy(), least.copy())
            first_begin, last_begin, first_end, last_end = spans[crossing.kind]
            begins, ends = (each if crossing.message is None else each[crossing.message] for each in (begin, end))
            np.minimum.at(first_begin, crossing.link, begins)
            np.maximum.at(last_begin, crossing.link, begins)
            np.minimum.at(first_end, crossing.link, ends)
            np.maximum.at(last_end, crossing.link, ends)
        assert self._free is not None
        for kind, (first_begin, last_begin, first_end, last_end) in spans.items():
            free = self._free[kind]
            used = first_begin < np.inf
            apart = np.maximum(last_begin[used] - first_begin[used], last_end[used] - first_end[used]) > slack
            if apart.any() or (first_begin[used] < free[used] - slack).any():
                return False
            free[used] = np.maximum(free[used], last_end[used])
        return True
