"""Max-min fair rates of flows that come and go: only those that a change reaches are shared out again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.network.max_min import SAME, max_min_rates

FEW: Final = 96
"""Flows that are shared out one by one; more of them on arrays."""


class FairShares:
    """Flow f crosses the links ``paths[f]``; link l carries ``capacity[l]`` bytes per second.

    ``rate`` holds each flow's bytes per second, 0 while it is on no link. Rates are max-min fair exactly if every flow
    crosses a full link on which none is faster. So a change is followed as far as flows have lost theirs, no further.
    ``work``: how often a flow on a link has been looked at, which is what the time of all changes grows with.
    """

    def __init__(self, paths: Sequence[Sequence[int]], capacity: NDArray[np.float64]) -> None:
        self.rate = [0.0] * len(paths)
        self.work = 0
        self._paths = paths
        self._capacity: list[float] = capacity.tolist()
        self._on: list[set[int]] = [set() for _ in self._capacity]

    def change(self, *, begun: Iterable[int], ended: Iterable[int]) -> list[tuple[int, float]]:
        """Flows have begun and others have ended: whose rate is another now, and what it was."""
        on, rate = self._on, self.rate
        members = set(begun)
        touched: set[int] = set()
        for flow in ended:
            rate[flow] = 0.0
            touched.update(self._paths[flow])
            for link in self._paths[flow]:
                on[link].discard(flow)
        for flow in members:
            touched.update(self._paths[flow])
            for link in self._paths[flow]:
                on[link].add(flow)
        for link in touched:
            members |= on[link]
        found: dict[int, float] = {}
        while members:
            users = self._users(members)
            found = self._shared(members, users)
            border = [link for link, those in users.items() if len(on[link]) > len(those)]
            if not border or not (more := self._reached(members, found, users, border)):
                break
            members |= more
        changed = [(flow, rate[flow]) for flow, new in found.items() if abs(new - rate[flow]) > (1 - SAME) * new]
        for flow, _ in changed:
            rate[flow] = found[flow]
        return changed

    def _users(self, members: set[int]) -> dict[int, list[int]]:
        """Which of ``members`` are on each link that one of them is on."""
        users: dict[int, list[int]] = {}
        for flow in members:
            self.work += len(self._paths[flow])
            for link in self._paths[flow]:
                if link in users:
                    users[link].append(flow)
                else:
                    users[link] = [flow]
        return users

    def _shared(self, members: set[int], users: dict[int, list[int]]) -> dict[int, float]:
        """Fair rates of ``members`` while all others keep theirs."""
        left: dict[int, float] = {}
        for link, those in users.items():
            left[link] = self._capacity[link]
            if len(self._on[link]) > len(those):
                left[link] -= sum(self.rate[flow] for flow in self._on[link] if flow not in members)
        if len(members) > FEW:
            return self._on_arrays(members, left)
        return _filled(members, self._paths, users, left)

    def _on_arrays(self, members: set[int], left: dict[int, float]) -> dict[int, float]:
        flows = list(members)
        width = max(len(self._paths[flow]) for flow in flows)
        place = {link: number for number, link in enumerate(left)}
        paths = np.full((len(flows), width), -1)
        for row, flow in enumerate(flows):
            path = self._paths[flow]
            paths[row, : len(path)] = [place[link] for link in path]
        rates = max_min_rates(paths, np.array(list(left.values())))
        return dict(zip(flows, rates.tolist(), strict=True))

    def _reached(
        self, members: set[int], found: dict[int, float], users: dict[int, list[int]], border: list[int]
    ) -> set[int]:
        """Flows beside ``members`` that have to change too if those get the rates ``found``.

        On the links of ``border`` are both; ``users`` of each are those among the members.
        """
        on, rate, paths = self._on, self.rate, self._paths

        def fastest(link: int) -> float:
            """On a full link; on others what no flow reaches."""
            rates = [found[each] if each in found else rate[each] for each in on[link]]
            self.work += len(rates)
            return max(rates) * SAME if sum(rates) >= self._capacity[link] * SAME else np.inf

        known = {link: fastest(link) for link in border}

        def held(flow: int, own: float) -> bool:
            """Whether on one of its links, which is full, no flow is faster; on most it is one of the border."""
            path = paths[flow]
            for link in path:
                if link in known and own >= known[link]:
                    return True
            for link in path:
                if link not in known:
                    known[link] = fastest(link)
                    if own >= known[link]:
                        return True
            return False

        beside = set().union(*(on[link] for link in border)) - members
        reached = {flow for flow in beside if not held(flow, rate[flow])}
        inside = {flow for link in border for flow in users[link]}
        for flow in inside:
            own = found[flow]
            if not held(flow, own):
                reached.update(
                    other for link in paths[flow] for other in on[link] - members if rate[other] * SAME > own
                )
        return reached


def _filled(
    members: set[int], paths: Sequence[Sequence[int]], users: dict[int, list[int]], left: dict[int, float]
) -> dict[int, float]:
    """Fair rates of ``members`` on links with so much left: the tightest links first."""
    found: dict[int, float] = {}
    waiting = {link: len(those) for link, those in users.items()}
    while len(found) < len(members):
        shares = {link: left[link] / count for link, count in waiting.items() if count}
        limit = min(shares.values()) / SAME
        for link, share in shares.items():
            if share > limit:
                continue
            for flow in users[link]:
                if flow in found:
                    continue
                found[flow] = share
                for crossed in paths[flow]:
                    left[crossed] -= share
                    waiting[crossed] -= 1
    return found
