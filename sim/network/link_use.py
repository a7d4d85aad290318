"""Which links a collective used, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.network.schedule import Schedule
from sim.network.topology import Topology

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LinkLoad:
    """One link: what it carried, the rate it can carry, and the seconds it needs for that at least."""

    name: str
    kind: str
    bytes: int
    bytes_per_second: float
    busy_seconds: float


@dataclass(frozen=True)
class LinkUse:
    """The links of ``topology`` under ``schedule``, whose elements have ``item_bytes`` bytes.

    Counted when first asked for, from the schedule alone: a link is busy for its bytes at its full rate, whenever that
    was.
    """

    schedule: Schedule
    topology: Topology
    item_bytes: int

    @cached_property
    def bytes(self) -> tuple[Floats, ...]:
        """Bytes over each link (links,), one array for each kind of ``topology.kinds``."""
        found = [np.zeros(kind.count) for kind in self.topology.kinds]
        for step in self.schedule.timed_steps():
            size = (step.end - step.begin) * (self.item_bytes * step.turns)
            for crossing in self.topology.crossings(step.source, step.destination):
                carried = size if crossing.message is None else size[crossing.message]
                total = found[crossing.kind]
                total += np.bincount(crossing.link, weights=carried, minlength=len(total))
        return tuple(found)

    @cached_property
    def busy_seconds(self) -> tuple[Floats, ...]:
        """Seconds of each link at its full rate, as :attr:`bytes`."""
        return tuple(each / capacity for each, capacity in zip(self.bytes, self.topology.capacities, strict=True))

    def busiest(self, count: int = 5) -> list[LinkLoad]:
        """The ``count`` links with the most to do, the busiest first; of equal ones the first of each kind.

        A node's two directions together count beside each of them.
        """
        found: list[LinkLoad] = []
        for number, busy in enumerate(self.busy_seconds):
            for link in np.argsort(-busy, kind="stable")[:count].tolist():
                if busy[link] > 0:
                    found.append(self._load(number, link))
        found.sort(key=lambda load: -load.busy_seconds)
        return found[:count]

    def busiest_of_each_kind(self) -> list[LinkLoad]:
        """The busiest link of every kind that was used, the busiest first."""
        tops = [(number, int(busy.argmax())) for number, busy in enumerate(self.busy_seconds) if len(busy)]
        loads = [self._load(number, link) for number, link in tops if self.busy_seconds[number][link] > 0]
        return sorted(loads, key=lambda load: -load.busy_seconds)

    def _load(self, number: int, link: int) -> LinkLoad:
        kind, capacity = self.topology.kinds[number], self.topology.capacities[number]
        return LinkLoad(
            name=kind.name(link),
            kind=kind.kind,
            bytes=round(float(self.bytes[number][link])),
            bytes_per_second=capacity if isinstance(capacity, float) else float(capacity[link]),
            busy_seconds=float(self.busy_seconds[number][link]),
        )
