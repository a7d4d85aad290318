"""How long groups of ranks need to exchange numbers, all groups of a stage at once on the machine's network."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.network.butterfly import stages, usable_ranks
from sim.network.groups import in_groups
from sim.network.ranks import run
from sim.network.schedule import Ranks, Schedule
from sim.network.schemes import Scheme
from sim.network.topology import Topology
from workloads.parallel.placement import Placement
from workloads.parallel.schedules import Collectives, point_to_point

Floats = NDArray[np.float64]


def near_first(ranks: int) -> Ranks:
    """The order of a group's ranks in which halving, which begins with the largest messages far away, begins nearby.

    A rank then has another part of the sum, which changes nothing else. Counts that do not halve by small factors keep
    their order.
    """
    if usable_ranks(ranks) < ranks:
        return np.arange(ranks)
    order = np.zeros(1, dtype=np.int64)
    stride = 1
    for stage in stages(ranks=ranks, far_first=True):
        order = (order[:, None] + stride * np.arange(stage.radix)).ravel()
        stride *= stage.radix
    return order


@dataclass
class GroupTimes:
    """Times on ``topology`` of what ranks placed by ``placement`` exchange, ``item_bytes`` for each number.

    What is asked for twice is timed once. ``moved_bytes`` counts everything that was sent.
    """

    topology: Topology
    placement: Placement
    scheme: Scheme
    item_bytes: int
    known: dict[tuple[str, int, int], tuple[float, int]] = field(default_factory=dict)

    @cached_property
    def collectives(self) -> Collectives:
        """The schedules."""
        return Collectives(
            algorithm=self.scheme.collective,
            network=self.topology.network,
            item_bytes=self.item_bytes,
            ranks_per_node=self.topology.ranks_per_node,
        )

    def tensor(self, kind: str, *, stage: int, elements: int) -> tuple[float, int]:
        """Seconds until the last of a stage's tensor groups has ``elements`` numbers summed or gathered, and bytes."""
        return self._from_zero(f"tensor {kind}", kind, self.placement.tensor_groups(stage), stage, elements)

    def replicas(self, kind: str, *, stage: int, elements: int) -> tuple[float, int]:
        """The same for the groups that have the same part of a stage."""
        return self._from_zero(f"replicas {kind}", kind, self.placement.replica_groups(stage), stage, elements)

    def norm(self, *, sharded: bool) -> tuple[float, int]:
        """The same for one number of all ranks of a replica, or of all ranks there are."""
        groups = np.arange(self.placement.ranks)[None] if sharded else self.placement.whole_replicas()
        return self._from_zero(f"norm {sharded}", "all_reduce", groups, 0, 1)

    def tied(self, *, first: int, second: int, elements: int) -> tuple[float, int]:
        """The same for a sum between two stages."""
        return self._from_zero(f"tied {second}", "all_reduce", self.placement.pairs(first, second), first, elements)

    def handed_on(self, *, source: int, destination: int, elements: int) -> tuple[float, int]:
        """Seconds until ``elements`` numbers of every rank of a stage are at its partner in another, and bytes."""
        pairs = self.placement.pairs(source, destination)
        key = (f"to {destination}", source, elements)
        if key not in self.known:
            schedule = in_groups(point_to_point(elements=elements), pairs, ranks=self.topology.ranks)
            finish, moved = self._run(schedule, np.zeros(self.topology.ranks))
            self.known[key] = float(finish.max()), moved
        return self.known[key]

    def clocks(self, kind: str, *, groups: Ranks, elements: int, start: Floats) -> tuple[Floats, int]:
        """The clocks (ranks,) after a collective of every group that begins at ``start``, and the bytes moved."""
        if groups.shape[1] == 1 or not elements:
            return start, 0
        if kind in ("reduce_scatter", "all_gather"):
            groups = groups[:, near_first(groups.shape[1])]
        shape = {"ranks": groups.shape[1], "elements": elements, "apart": int(groups[0, 1] - groups[0, 0])}
        moved = 0
        for schedule in self._schedules(kind, shape):
            start, more = self._run(in_groups(schedule, groups, ranks=self.topology.ranks), start)
            moved += more
        return start, moved

    def _schedules(self, kind: str, shape: dict[str, int]) -> tuple[Schedule, ...]:
        found = self.collectives
        match kind:
            case "all_reduce":
                return found.sums(**shape)
            case "reduce":
                return (found.sum_at_first(**shape),)
            case "reduce_scatter":
                return (found.reduce_scatter(**shape),)
            case _:
                return (found.all_gather(**shape),)

    def _from_zero(self, what: str, kind: str, groups: Ranks, stage: int, elements: int) -> tuple[float, int]:
        key = (what, stage, elements)
        if key not in self.known:
            finish, moved = self.clocks(kind, groups=groups, elements=elements, start=np.zeros(self.topology.ranks))
            self.known[key] = float(finish.max()), moved
        return self.known[key]

    def _run(self, schedule: Schedule, start: Floats) -> tuple[Floats, int]:
        result = run(
            schedule,
            topology=self.topology,
            protocol=self.scheme.protocol,
            reduction=self.scheme.reduction,
            start=start,
            item_bytes=self.item_bytes,
            judge=False,
        )
        return result.finish, result.bytes
