"""The communication of a training step: parts of the gradients, one after the other, by a library's scheme."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.network.choices import REDUCE_BROADCAST
from sim.network.collectives import collective
from sim.network.ranks import run
from sim.network.schedule import Schedule
from sim.network.schemes import Scheme
from sim.network.topology import Topology

Floats = NDArray[np.float64]

REMEMBERED_BYTES: Final = 200_000_000
"""Clocks of collectives that are kept for when the same comes again."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """``elements`` numbers that travel together, ready ``ready_seconds`` after a rank began the step.

    ``returned``: all ranks need the sum. A scheme that reduces to one rank leaves out the broadcast of other parts.
    """

    elements: int
    ready_seconds: float
    returned: bool = True


@dataclass(frozen=True, kw_only=True)
class Communication:
    """When each rank (ranks,) has all sums, in seconds, and what was moved for that.

    ``busy_seconds``: in which some part was under way. ``latency_seconds``, ``transfer_seconds``, ``reduce_seconds``
    and ``copy_seconds`` add up the slowest message of each step.
    """

    finish: Floats
    busy_seconds: float
    messages: int
    bytes: int
    latency_seconds: float
    transfer_seconds: float
    reduce_seconds: float
    copy_seconds: float


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """One part from clocks of which the least is 0: the clocks after it, less their ``least``, and what was moved."""

    later: Floats
    least: float
    longest: float
    messages: int
    bytes: int
    latency_seconds: float
    transfer_seconds: float
    reduce_seconds: float


@dataclass
class Communicator:
    """Adds gradients of ``item_bytes`` per number over the ranks of ``topology``; remembers what it has timed.

    Each part is timed from the clocks relative to the first rank that begins it: what repeats, repeats to the bit.
    """

    topology: Topology
    scheme: Scheme
    item_bytes: int
    remember: bool = True
    _known: OrderedDict[bytes, _Moved] = field(default_factory=OrderedDict, repr=False)

    def communicate(self, parts: Sequence[Part], *, start: Floats) -> Communication:
        """Send ``parts`` in their order, each when the one before is through on a rank and the rank has its own.

        ``start``: when each rank (ranks,) begins the step. One rank alone has nothing to send.
        """
        if self.topology.ranks == 1 or not parts:
            return Communication(
                finish=start + max((part.ready_seconds for part in parts), default=0.0),
                busy_seconds=0.0,
                messages=0,
                bytes=0,
                latency_seconds=0.0,
                transfer_seconds=0.0,
                reduce_seconds=0.0,
                copy_seconds=0.0,
            )
        base, later = float(start.min()), start - start.min()
        latest = float(start.max())
        busy = copied = 0.0
        moves: list[_Moved] = []
        end = base
        for part in parts:
            ready = part.ready_seconds
            if latest + ready > base:
                begin = np.maximum(base + later, start + ready)
                base = float(begin.min())
                later = begin - base
            copy = part.elements * self.item_bytes * self.scheme.copy_seconds_per_byte
            moved = self._part(part, later)
            began = max(base, end)
            base, later = base + copy + moved.least, moved.later
            end = base + moved.longest
            busy += max(0.0, end - began)
            copied += copy
            moves.append(moved)
        return Communication(
            finish=base + later,
            busy_seconds=busy,
            messages=sum(moved.messages for moved in moves),
            bytes=sum(moved.bytes for moved in moves),
            latency_seconds=sum(moved.latency_seconds for moved in moves),
            transfer_seconds=sum(moved.transfer_seconds for moved in moves),
            reduce_seconds=sum(moved.reduce_seconds for moved in moves),
            copy_seconds=copied,
        )

    def _part(self, part: Part, later: Floats) -> _Moved:
        """One part, from clocks of which the least is 0."""
        if not self.remember:
            return self._time(part, later)
        key = blake2b(later.tobytes(), digest_size=16).digest() + f"{part.elements} {part.returned}".encode()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._time(part, later)
            if len(self._known) > max(8, REMEMBERED_BYTES // later.nbytes):
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found

    def _time(self, part: Part, later: Floats) -> _Moved:
        clocks, pieces = later, []
        for schedule in self._schedules(part):
            piece = run(
                schedule,
                topology=self.topology,
                protocol=self.scheme.protocol,
                reduction=self.scheme.reduction,
                start=clocks,
                item_bytes=self.item_bytes,
                judge=False,
            )
            pieces.append(piece)
            clocks = piece.finish
        least = float(clocks.min())
        later = clocks - least
        return _Moved(
            later=later,
            least=least,
            longest=float(later.max()),
            messages=sum(piece.messages for piece in pieces),
            bytes=sum(piece.bytes for piece in pieces),
            latency_seconds=sum(piece.latency_seconds for piece in pieces),
            transfer_seconds=sum(piece.transfer_seconds for piece in pieces),
            reduce_seconds=sum(piece.reduce_seconds for piece in pieces),
        )

    def _schedules(self, part: Part) -> list[Schedule]:
        """What a part goes through, one after the other; many equal steps as one."""
        if self.scheme.collective != REDUCE_BROADCAST:
            return [self._schedule("allreduce", self.scheme.collective, part)]
        reduction = self._schedule("reduce", "binomial_tree", part)
        return [reduction, self._schedule("broadcast", "mpich", part)] if part.returned else [reduction]

    def _schedule(self, operation: str, algorithm: str, part: Part) -> Schedule:
        schedule = collective(
            operation, algorithm, topology=self.topology, elements=part.elements, item_bytes=self.item_bytes
        )
        return schedule if schedule.shortened is None else replace(schedule, steps=schedule.shortened)
