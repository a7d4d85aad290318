"""Whether links were shared as a step shares them: evenly, by all its messages, from begin to end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.network.routes import Routes
from sim.network.topology import Topology

Ranks = NDArray[np.int64]
Floats = NDArray[np.float64]


class SharingWatch:
    """Follows a collective step by step until links are shared in a way that a step cannot know.

    It can where the messages on every link begin and end together and no message of an earlier step is still on it.
    Then the times are those of max-min fair flows. Parts that differ by one element count as equal.
    """

    def __init__(self, topology: Topology, *, item_bytes: int) -> None:
        self.exact = topology.contention
        self._topology = topology
        self._item_bytes = item_bytes
        self._slack = 0.0
        self._free = -np.inf
        self._free_of: list[Floats] | None = None

    def step(self, *, source: Ranks, destination: Ranks, begin: Floats, end: Floats, routes: Routes) -> None:
        """Messages from ``begin`` to ``end`` in seconds, all of shape (messages,)."""
        self._slack += self._item_bytes / float(routes.rate.min())
        slack = self._slack + 1e-12 * float(end.max())
        together = begin.max() - begin.min() <= slack and end.max() - end.min() <= slack
        if together and begin.min() >= self._free - slack:
            self._free = max(self._free, float(end.max()))
            self._free_of = None
            return
        if self._free_of is None:
            self._free_of = [np.full(kind.count, self._free) for kind in self._topology.kinds]
        self._free = max(self._free, float(end.max()))
        self.exact = self._link_by_link(source, destination, begin, end, slack)

    def turns(self, clocks: Floats, seconds: Floats) -> None:
        """A ring of messages of ``seconds`` (ranks,) turned many times from ``clocks``."""
        equal = clocks.max() == clocks.min() and seconds.max() == seconds.min()
        self.exact = self.exact and bool(equal) and bool(clocks.min() >= self._free - self._slack)

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
        assert self._free_of is not None
        for kind, (first_begin, last_begin, first_end, last_end) in spans.items():
            free = self._free_of[kind]
            used = first_begin < np.inf
            apart = np.maximum(last_begin[used] - first_begin[used], last_end[used] - first_end[used]) > slack
            if apart.any() or (first_begin[used] < free[used] - slack).any():
                return False
            free[used] = np.maximum(free[used], last_end[used])
        return True
