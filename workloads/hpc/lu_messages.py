"""Messages of an LU factorisation between the processes of a grid, in picoseconds.

What all process columns do is timed as if they did it at the same moment, so that they share the links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sim.network.butterfly import fold, power_of_two, recursive_doubling
from sim.network.protocol import Protocol
from sim.network.schedule import Step
from sim.network.topology import Topology
from workloads.hpc.durations import Picoseconds
from workloads.hpc.hpl_spec import HplMapping
from workloads.hpc.message_pattern import MessagePattern, pattern_of
from workloads.hpc.process_grid import Counts, ProcessGrid


def exchanges(members: int) -> list[Step]:
    """Steps after which all of ``members`` know what each of them knew: doubling, around it a fold."""
    core = power_of_two(members)
    return [
        *fold(ranks=members, core=core, elements=1, inward=True),
        *recursive_doubling(ranks=core, elements=1),
        *fold(ranks=members, core=core, elements=1, inward=False),
    ]


def scatter_levels(members: int) -> list[tuple[int, Counts]]:
    """Of a binomial scatter from member 0: the distance of each level and who sends."""
    distance = 1 << max(members - 1, 0).bit_length()
    levels = []
    while distance > 1:
        distance //= 2
        levels.append((distance, np.arange(0, members - distance, 2 * distance)))
    return levels


@dataclass(frozen=True, eq=False)
class LuMessages:
    """Patterns of messages on ``topology``, whose ranks are the processes of ``grid``."""

    grid: ProcessGrid
    mapping: HplMapping
    topology: Topology

    @cached_property
    def protocol(self) -> Protocol:
        return Protocol.of(self.topology.network)

    def agree(self, size: int) -> int:
        """A process column finds a pivot and learns both rows: ``size`` bytes in each exchange."""
        patterns = self._agreement
        if self.mapping.pivots_eager:
            short = replace(self.protocol, segment_bytes=self.protocol.eager_limit_bytes - 1)
            patterns = [replace(pattern, protocol=short) for pattern in patterns]
        return sum(int(pattern.picoseconds(np.array(size))) for pattern in patterns)

    def swap(self, rows: int, row_bytes: Counts) -> Picoseconds:
        """``rows`` rows of ``row_bytes`` exchanged within every process column; all of it then has the upper ones."""
        members = self.grid.rows
        found = np.zeros(np.shape(row_bytes), dtype=np.int64)
        if self.mapping.swap == "binary_exchange":
            for pattern in self._agreement:
                found = found + pattern.picoseconds(2 * rows * row_bytes)
            return found
        for (distance, _), pattern in zip(scatter_levels(members), self._spread, strict=True):
            # what a level's first message carries is for all members from there to the end
            part = min(distance, members - distance)
            found = found + pattern.picoseconds(-(-rows * part // members) * row_bytes)
        return found + (members - 1) * self._roll.picoseconds(-(-rows // members) * row_bytes)

    def hop(self, column: int, distance: int) -> MessagePattern:
        """From a process column to the one ``distance`` further, in every process row."""
        columns = self.grid.columns
        return self._across(np.array([column % columns]), np.array([(column + distance) % columns]))

    @cached_property
    def in_parts(self) -> tuple[list[tuple[tuple[int, Counts], MessagePattern]], MessagePattern]:
        """Of a broadcast in parts: the levels of the scatter, and a step of the ring in which all take part."""
        columns = self.grid.columns
        levels = [
            ((distance, senders), self._across(senders, senders + distance))
            for distance, senders in scatter_levels(columns)
        ]
        every = np.arange(columns if columns > 1 else 0)
        return levels, self._across(every, (every + 1) % columns)

    def along_row(self, size: int) -> int:
        """A binomial reduction of ``size`` bytes over a process row."""
        return sum(
            int(self.hop(0, distance).picoseconds(np.array(size))) for distance, _ in scatter_levels(self.grid.columns)
        )

    def along_column(self, size: int) -> int:
        """A binomial broadcast of ``size`` bytes over a process column."""
        return sum(int(pattern.picoseconds(np.array(size))) for pattern in self._spread)

    @cached_property
    def _agreement(self) -> Sequence[MessagePattern]:
        return [self._within(step.source, step.destination) for step in exchanges(self.grid.rows)]

    @cached_property
    def _spread(self) -> Sequence[MessagePattern]:
        return [self._within(senders, senders + distance) for distance, senders in scatter_levels(self.grid.rows)]

    @cached_property
    def _roll(self) -> MessagePattern:
        every = np.arange(self.grid.rows if self.grid.rows > 1 else 0)
        return self._within(every, (every + 1) % self.grid.rows)

    def _within(self, source: Counts, destination: Counts) -> MessagePattern:
        ranks = self.grid.within_columns(source, destination)
        return pattern_of(topology=self.topology, protocol=self.protocol, source=ranks[0], destination=ranks[1])

    def _across(self, source: Counts, destination: Counts) -> MessagePattern:
        ranks = self.grid.within_rows(source, destination)
        return pattern_of(topology=self.topology, protocol=self.protocol, source=ranks[0], destination=ranks[1])
