"""When a panel reaches each process column, by every way of broadcasting it along the process rows.

Columns are numbered by their distance from the panel's. A message starts when its sender has the panel and its
receiver has come to the exchange of rows before (it looks for messages from then on), and a column passes it on as
soon as it has it: the MPE does that while the CPEs compute. The messages of a hop share its slowest route.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from workloads.hpc.durations import Picoseconds
from workloads.hpc.lu_costs import LuCosts
from workloads.hpc.message_pattern import MessagePattern
from workloads.hpc.process_grid import Counts


@dataclass(frozen=True)
class Hops:
    """Messages over one distance: ``classes`` by process column, ``costs`` by panel and class."""

    classes: Counts
    costs: Picoseconds

    def of(self, panel: int, column: int) -> int:
        """From a process column, of a panel."""
        return int(self.costs[panel, self.classes[column % len(self.classes)]])


@dataclass(eq=False)
class LuBroadcast:
    """Broadcasts of all panels of ``costs``."""

    costs: LuCosts
    found: dict[int, Hops] = field(default_factory=dict)

    @cached_property
    def columns(self) -> int:
        return self.costs.problem.grid.columns

    @cached_property
    def parts(self) -> bool:
        """True if panels are broadcast in parts."""
        return self.costs.kernels.mapping.broadcast == "long"

    @cached_property
    def chains(self) -> list[tuple[int, int, Hops]]:
        """Of each chain that passes the panel on, in the root's order: its first column, the one after its last, and
        the root's messages to it."""
        chains = self.costs.kernels.mapping.chains(self.columns)
        return [(head, end, self.hops(head)) for head, end in chains]

    @cached_property
    def near(self) -> Hops:
        """Messages to the next process column."""
        return self.hops(1)

    def hops(self, distance: int) -> Hops:
        """Messages between all process columns ``distance`` apart."""
        if distance not in self.found:
            numbers: dict[MessagePattern, int] = {}
            patterns = [self.costs.messages.hop(column, distance) for column in range(self.columns)]
            classes = [numbers.setdefault(pattern, len(numbers)) for pattern in patterns]
            sizes = self.costs.panel_bytes(self.costs.rows_after)
            costs = np.stack([pattern.picoseconds(sizes) for pattern in numbers], axis=1)
            # twice round, so that any column's followers are a slice
            self.found[distance] = Hops(np.array(classes * 2), costs)
        return self.found[distance]

    @cached_property
    def long(self) -> Picoseconds:
        """Of each panel in parts: scattered, then all parts around a ring."""
        sizes = self.costs.panel_bytes(self.costs.rows_after)
        levels, ring = self.costs.messages.in_parts
        found = np.zeros(len(sizes), dtype=np.int64)
        for (distance, _), pattern in levels:
            found += pattern.picoseconds(-(-sizes * min(distance, self.columns - distance) // self.columns))
        return found + (self.columns - 1) * ring.picoseconds(-(-sizes // self.columns))

    def arrivals(self, panel: int, *, ready: int, posted: Picoseconds) -> Picoseconds:
        """When each column has the panel that its own has at ``ready``; ``posted``: when each looks for it."""
        arrived = np.empty_like(posted)
        arrived[0] = ready
        root = panel % self.columns
        if self.parts and self.columns > 1:
            arrived[1:] = max(ready, int(posted[1:].max())) + self.long[panel]
        for head, end, hops in self.chains:
            ready = max(ready, int(posted[head])) + hops.of(panel, root)
            arrived[head] = ready
            if end > head + 1:
                near = self.near
                steps = near.costs[panel].take(near.classes[root + head : root + end - 1])
                total = steps.cumsum()
                gate = arrived[head + 1 : end]
                # less what the hops before its own take, no column's message starts before the latest of those
                np.subtract(posted[head + 1 : end], total, out=gate)
                gate += steps
                gate[0] = max(gate[0], ready)
                np.maximum.accumulate(gate, out=gate)
                gate += total
        return arrived
