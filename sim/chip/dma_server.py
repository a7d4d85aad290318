"""The DMA engine of a core group as an arithmetic server: one line per turn, round-robin over the requests.

Rules, the same as those of the event-by-event reference in :mod:`sim.chip.cpe_program`:

* a CPE's channel is a queue: its requests are served in order, only the first takes part in the ring;
* a decision is taken whenever the engine is free: the request at the head of the ring gets one turn;
* requests that arrive at or before a decision join the tail first, in order of arrival and then of CPE,
  and the request that has just had its turn goes behind them, or the next of its channel if it is through;
* a turn lasts at least as long as the data buses that have requests at the decision need for a line;
* a request is complete when its last turn ends, but not before its CPE's channel has carried its bytes.

Whole rounds in which nothing arrives and nothing completes are taken in one step of arithmetic.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outstanding:
    """A request in the ring: ``turns`` left of ``quantum`` ticks, the first one ``first`` ticks longer."""

    cpe: int
    handle: int
    turns: int
    quantum: int
    first: int
    channel_end: int


@dataclass(frozen=True, slots=True)
class Completion:
    """Request ``handle`` of ``cpe`` left the engine at ``time`` ticks."""

    cpe: int
    handle: int
    time: int


@dataclass
class DmaServer:
    """State of one engine.

    ``bus_of``: each CPE's data bus; ``bus_lines``: least ticks of a turn by number of buses with requests. Empty: no
    such limit.
    """

    bus_of: Sequence[int] = ()
    bus_lines: Sequence[int] = ()
    channels: dict[int, int] = field(default_factory=dict)
    ring: deque[Outstanding] = field(default_factory=deque)
    current: Outstanding | None = None
    behind: dict[int, deque[Outstanding]] = field(default_factory=dict)
    """By CPE with a request in the ring: those that wait behind it."""
    free_at: int = 0
    round_ticks: int = 0
    unstarted: int = 0
    singles: int = 0
    on_bus: Counter[int] = field(default_factory=Counter)
    least: int = 0

    def add(self, *, time: int, cpe: int, handle: int, lines: int, quantum: int, first: int, channel: int) -> None:
        """A request arrives at ``time``; every decision before ``time`` must have been taken.

        Its bytes occupy the CPE's channel for ``channel`` ticks.
        """
        channel_end = max(self.channels.get(cpe, 0), time) + channel
        self.channels[cpe] = channel_end
        if not self.ring and self.current is None:
            self.free_at = max(self.free_at, time)
        request = Outstanding(cpe, handle, lines, quantum, first, channel_end)
        if cpe in self.behind:
            self.behind[cpe].append(request)
            return
        self.behind[cpe] = deque()
        self.ring.append(request)
        self._enter(request)

    def advance(self, limit: int) -> Completion | None:
        """Take the decisions before ``limit``, stopping at the first completion, which is returned."""
        ring, least = self.ring, self.least
        # local: a long list of single turns is what a simulation mostly does
        current, free_at, singles = self.current, self.free_at, self.singles
        found = None
        while free_at < limit:
            if current is not None:
                ring.append(current)
                current = None
            if not ring:
                break
            if singles <= 0 and self.unstarted == 0:
                self.free_at = free_at
                skipped = self._skip_rounds(limit)
                free_at, singles = self.free_at, self.singles
                if skipped:
                    continue
            singles -= 1
            head = ring.popleft()
            quantum = head.quantum
            free_at += quantum if quantum > least else least
            if head.first >= 0:
                free_at += head.first
                head.first = -1
                self.unstarted -= 1
            head.turns -= 1
            if head.turns == 0:
                self.round_ticks -= quantum
                self._count(head.cpe, -1)
                current = self._successor(head.cpe)
                found = Completion(head.cpe, head.handle, max(free_at, head.channel_end))
                break
            current = head
        self.current, self.free_at, self.singles = current, free_at, singles
        return found

    def _successor(self, cpe: int) -> Outstanding | None:
        """The channel's next request, now in the ring's last place, or None."""
        queue = self.behind[cpe]
        if not queue:
            del self.behind[cpe]
            return None
        request = queue.popleft()
        self._enter(request)
        return request

    def _enter(self, request: Outstanding) -> None:
        self.round_ticks += request.quantum
        self.unstarted += 1
        self._count(request.cpe, 1)

    def _skip_rounds(self, limit: int) -> bool:
        """Take all whole rounds before ``limit`` in which nothing completes; True if there were any."""
        fewest = min(request.turns for request in self.ring)
        round_ticks = self.round_ticks
        if self.least:
            round_ticks = sum(max(request.quantum, self.least) for request in self.ring)
        # a decision at the limit is left: who arrives then goes before who was just served
        rounds = min(fewest - 1, (limit - 1 - self.free_at) // round_ticks)
        # without a whole round to take, look again only after every request has had a turn
        self.singles = len(self.ring)
        if rounds <= 0:
            return False
        for request in self.ring:
            request.turns -= rounds
        self.free_at += rounds * round_ticks
        return True

    def _count(self, cpe: int, change: int) -> None:
        """A request of ``cpe`` came or went: how long must a turn last now?"""
        if not self.bus_lines:
            return
        bus = self.bus_of[cpe]
        self.on_bus[bus] += change
        if not self.on_bus[bus]:
            del self.on_bus[bus]
        self.least = self.bus_lines[len(self.on_bus)]
