"""From the end of a stage's backward passes to its new weights: sums over replicas, norms, update, collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.optim.clip import Clip, ClipByNorm
from nnlib.optim.optimizers import Optimizer
from nnlib.update import needs_norms
from sim.chip.processor import Segment
from workloads.parallel.group_times import GroupTimes
from workloads.parallel.lowered import LoweredStrategy
from workloads.parallel.pipeline_times import Seconds, later, latest
from workloads.parallel.schedules import shards
from workloads.parallel.stage_work import Blob, Bucket, Message, packed

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StageEnd:
    """The end of a step on one stage: ``finish`` when its last rank has its new weights.

    ``exposed`` seconds went by with nothing but communication, ``under_way`` are all in which some was.
    """

    finish: float
    exposed: float
    under_way: float
    moved_bytes: int
    update: tuple[Segment, ...]


@dataclass(frozen=True, kw_only=True)
class GradientEnd:
    """What all stages' ends have in common."""

    lowered: LoweredStrategy
    times: GroupTimes
    optimizer: Optimizer
    clip: Clip | None

    @property
    def sharded(self) -> bool:
        """True if replicas divide the optimiser's work."""
        return self.lowered.strategy.optimizer_sharding and self.lowered.replicas > 1

    @cached_property
    def tied(self) -> dict[str, tuple[int, ...]]:
        """The parameters that layers of several stages share, and these stages."""
        found: dict[str, tuple[int, ...]] = {}
        for stage, names in enumerate(self.lowered.stages.parameters):
            for name in names:
                found[name] = (*found.get(name, ()), stage)
        return {name: users for name, users in found.items() if len(users) > 1}

    def buckets(self, blobs: Sequence[Blob]) -> list[Bucket]:
        """Gradients that are packed together; what several stages share is alone, as it waits for all of them."""
        own = [blob for blob in blobs if blob.name not in self.tied]
        shared = [blob for blob in blobs if blob.name in self.tied]
        limit = self.lowered.timer.mapping.bucket_bytes
        return [*packed(own, item=self.times.item_bytes, limit=limit), *(Bucket((blob,)) for blob in shared)]

    def accumulation(self, bucket: Bucket) -> Segment:
        """Adding one micro-batch's gradients to those before it."""
        timer = self.lowered.timer
        return timer.launch(Elementwise("add", bucket.elements, timer.mapping.dtype))

    def tied_ready(self, ends: Sequence[Seconds]) -> tuple[dict[str, Seconds], int]:
        """When the sums over the stages that share a parameter are there, from the ends of stages; bytes moved."""
        found: dict[str, Seconds] = {}
        moved_bytes = 0
        for name, users in self.tied.items():
            elements = prod(self.lowered.stages.graph.parameters[name])
            ready = reduce(later, (ends[stage] for stage in users))
            for stage in users[1:]:
                seconds, moved = self.times.tied(first=users[0], second=stage, elements=elements)
                ready = ready + seconds
                moved_bytes += moved
            found[name] = ready
        return found, moved_bytes

    def end(
        self, stage: int, *, messages: Sequence[Message], computed: Seconds, tied: Mapping[str, Seconds]
    ) -> StageEnd:
        """The end of ``stage``, whose gradients are complete in the node at ``computed``.

        ``messages`` say when each is ready, counted from the step's begin; ``tied`` when sums between stages are.
        """
        times, alone = self.times, self.lowered.replicas == 1
        groups, block = times.placement.replica_groups(stage), times.placement.block(stage)
        clocks: Floats = np.zeros(times.topology.ranks)
        finished, under_way, moved_bytes = 0.0, 0.0, 0
        for message in messages:
            ready = tied.get(message.name, message.ready_seconds if times.scheme.overlap else computed)
            clocks[block] = np.maximum(clocks[block], np.reshape(ready, (-1, 1)))
            if alone:
                continue
            began = max(finished, float(clocks[block].min()))
            copy = message.elements * times.item_bytes * times.scheme.copy_seconds_per_byte
            kind = ("reduce_scatter" if self.sharded else "all_reduce") if message.returned else "reduce"
            clocks, moved = times.clocks(kind, groups=groups, elements=message.elements, start=clocks + copy)
            finished = float(clocks[block].max())
            under_way += max(0.0, finished - began)
            moved_bytes += moved
        complete = latest(computed)
        reduced = max(complete, float(clocks[block].max()))
        update, seconds, moved = self._update(stage)
        return StageEnd(
            finish=reduced + sum(segment.seconds for segment in update) + seconds,
            exposed=reduced - complete + seconds,
            under_way=under_way + seconds,
            moved_bytes=moved_bytes + moved,
            update=tuple(update),
        )

    def _update(self, stage: int) -> tuple[list[Segment], float, int]:
        """The update's launches, and seconds and bytes of what ranks exchange for it."""
        parameters = self.lowered.stages.graph.parameters
        sizes = [prod(parameters[name]) for name in self.lowered.stages.parameters[stage]]
        if not sizes:
            return [], 0.0, 0
        exchanged = []
        if isinstance(self.clip, ClipByNorm) and (self.sharded or self.lowered.strategy.replica_ranks > 1):
            exchanged.append(self.times.norm(sharded=self.sharded))
        if needs_norms(self.optimizer):
            numbers = {"stage": stage, "elements": 2 * len(sizes)}
            if self.sharded:
                exchanged.append(self.times.replicas("all_reduce", **numbers))
            exchanged.append(self.times.tensor("all_reduce", **numbers))
        own = fullest_shard(sizes, self.lowered.replicas) if self.sharded else sizes
        update = self.lowered.timer.update(optimizer=self.optimizer, sizes=own, clip=self.clip)
        if self.sharded:
            exchanged.append(self.times.replicas("all_gather", stage=stage, elements=sum(sizes)))
        return update, sum(seconds for seconds, _ in exchanged), sum(moved for _, moved in exchanged)


def fullest_shard(sizes: Sequence[int], ranks: int) -> list[int]:
    """Of tensors that lie one behind the other what the rank has whose shard touches most of them."""
    ends = np.cumsum(sizes)
    bounds = shards(ranks=ranks, elements=int(ends[-1]))
    first = np.searchsorted(ends, [begin for begin, _ in bounds], side="right")
    last = np.searchsorted(ends, [end for _, end in bounds], side="left")
    fullest = max(range(ranks), key=lambda rank: (last[rank] - first[rank], bounds[rank][1] - bounds[rank][0]))
    begin, end = bounds[fullest]
    cut = [begin, *(int(each) for each in ends if begin < each < end), end]
    return [after - before for before, after in pairwise(cut) if after > before]
