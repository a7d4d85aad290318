"""The time of one data-parallel training step, from the launches of a core group to the last rank's finish.

Every node runs the same launches; the ranks' clocks begin to differ in the all-reduce, where links are shared. A
gradient bucket's all-reduce may run under the rest of the backward pass; what does not is exposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import SumCopies
from nnlib.optim import Clip, Optimizer
from nnlib.precision import DTYPES
from nnlib.program import Program
from nnlib.quantised.lower_training import update_roundings
from nnlib.update import clip_kernels, state_kinds, update_kernels
from sim.chip.processor import Segment, add_shares, group_sync_segment, launch_segment
from sim.machine.spec import MachineSpec
from sim.network.allreduce import allreduce
from sim.network.ranks import run
from sim.network.topology import Topology
from workloads.mapping import Mapping as WorkloadMapping


@dataclass(frozen=True)
class Bucket:
    """Gradients that are reduced together: ``elements`` numbers, ready ``seconds`` after the step began."""

    elements: int
    seconds: float


@dataclass(frozen=True)
class StepTiming:
    """One step: ``seconds`` until the slowest rank is through; ``shares`` (fractions of it) add up to 1.

    ``busiest`` names the layer and kernel that take most of the time inside a node.
    """

    seconds: float
    communication_exposed_seconds: float
    shares: Mapping[str, float]
    busiest: str
    launches: int
    launch_seconds: float
    gradient_bytes: int
    ranks: int


@dataclass(frozen=True)
class NodeTimer:
    """Times what one node does in a step: its core groups run ``program`` side by side on their shares of the batch."""

    machine: MachineSpec
    mapping: WorkloadMapping
    clock: KernelClock
    active_core_groups: int

    @property
    def launch_seconds(self) -> float:
        """MPE time per kernel: spawn and join, or with persistent threads one meeting through shared flags."""
        processor = self.machine.processor
        return processor.group_sync_seconds if self.mapping.persistent_threads else processor.mpe.launch_seconds

    def once(self) -> list[Segment]:
        """What a step pays once: with persistent threads they are spawned and joined once."""
        if not self.mapping.persistent_threads:
            return []
        seconds = self.machine.processor.mpe.launch_seconds
        return [Segment(seconds=seconds, shares={"launch": seconds})]

    def launch(self, kernel: Kernel) -> Segment:
        """One kernel on every active core group."""
        return launch_segment(
            timing=self.clock.time(kernel), processor=self.machine.processor, launch_seconds=self.launch_seconds
        )

    def program(self, program: Program) -> Iterator[tuple[str, Segment]]:
        """Label and time of each launch of a program."""
        for launch in program.launches:
            yield f"{launch.kernel.name} of {launch.layer} ({launch.phase})", self.launch(launch.kernel)

    def sum_groups(self, elements: int) -> list[Segment]:
        """The core groups meet and each adds up its part of all their gradients."""
        if self.active_core_groups == 1 or self.mapping.ranks_per_node > 1:
            return []
        part = -(-elements // self.active_core_groups)
        kernel = SumCopies(count=self.active_core_groups, elements=part, dtype=self.mapping.dtype)
        return [group_sync_segment(self.machine.processor), self.launch(kernel)]

    def update(self, *, optimizer: Optimizer, sizes: Sequence[int], clip: Clip | None = None) -> list[Segment]:
        """Clipping and the optimiser's step: core groups that share weights share the work."""
        sharers = self.active_core_groups if self.mapping.ranks_per_node == 1 else 1
        dtype = self.mapping.dtype
        segments: list[Segment] = []
        if clip is not None:
            clipping = clip_kernels(clip=clip, elements=sum(sizes), sharers=sharers, dtype=dtype)
            segments += [self.launch(kernel) for kernel in clipping]
            if len(clipping) > 1 and sharers > 1:  # each needs the others' part of the norm
                meeting = [segments[0], group_sync_segment(self.machine.processor)]
                seconds = sum(segment.seconds for segment in meeting)
                segments[0] = Segment(seconds=seconds, shares=add_shares(meeting))
        kernels = update_kernels(optimizer=optimizer, sizes=sizes, sharers=sharers, dtype=dtype)
        if self.mapping.fixed is not None:
            kinds, scheme = len(state_kinds(optimizer)), self.mapping.fixed
            kernels += update_roundings(sizes=sizes, kinds=kinds, sharers=sharers, dtype=dtype, scheme=scheme)
        return [*segments, *(self.launch(kernel) for kernel in kernels)]


def time_step(
    *, timer: NodeTimer, program: Program, optimizer: Optimizer, nodes: int, clip: Clip | None = None
) -> StepTiming:
    """Time of one step on ``nodes`` nodes when all ranks start together."""
    machine, mapping = timer.machine, timer.mapping
    gradients = {name: prod(buffer.shape) for name, buffer in program.buffers.items() if buffer.role == "gradient"}
    topology = Topology(network=machine.network, nodes=nodes, ranks_per_node=mapping.ranks_per_node)
    item = DTYPES[mapping.dtype].itemsize
    labelled = list(timer.program(program))
    once = timer.once()
    segments = [*once, *(segment for _, segment in labelled)]
    begin = sum(segment.seconds for segment in once)
    buckets = list(
        _buckets(program, [segment for _, segment in labelled], begin=begin, item=item, limit=mapping.bucket_bytes)
    )
    summed = [timer.sum_groups(bucket.elements) for bucket in buckets]
    for parts in summed:
        segments += parts
    computed = sum(segment.seconds for segment in segments)
    clocks = np.full(topology.ranks, computed)
    if topology.ranks > 1:
        busy = np.zeros(topology.ranks)
        adding = 0.0  # the core groups' sums so far, which put off all that comes after them
        for bucket, parts in zip(buckets, summed, strict=True):
            adding += sum(part.seconds for part in parts)
            ready = bucket.seconds + adding if mapping.overlap else computed
            busy = run(
                allreduce(mapping.collective, topology=topology, elements=bucket.elements),
                topology=topology,
                start=np.maximum(busy, ready),
                item_bytes=item,
                reduce_seconds_per_byte=machine.network.reduce_seconds_per_byte,
            ).finish
        clocks = np.maximum(clocks, busy)
    exposed = float(clocks.max()) - computed
    update = timer.update(optimizer=optimizer, sizes=list(gradients.values()), clip=clip)
    segments += update
    seconds = float(clocks.max()) + sum(segment.seconds for segment in update)
    shares = {**add_shares(segments), "communication_exposed": exposed}
    return StepTiming(
        seconds=seconds,
        communication_exposed_seconds=exposed,
        shares={name: value / seconds for name, value in shares.items()},
        busiest=busiest_label(labelled),
        launches=len(labelled) + sum(len(parts) > 0 for parts in summed) + len(update),
        launch_seconds=timer.launch_seconds,
        gradient_bytes=sum(gradients.values()) * item,
        ranks=topology.ranks,
    )


def _buckets(program: Program, segments: Sequence[Segment], *, begin: float, item: int, limit: int) -> Iterator[Bucket]:
    """Gradients in the order in which they become ready, packed up to ``limit`` bytes; launches ``begin`` then."""
    ends = begin + np.cumsum([segment.seconds for segment in segments])
    ready = sorted(
        (float(ends[buffer.last]), prod(buffer.shape))
        for buffer in program.buffers.values()
        if buffer.role == "gradient"
    )
    elements = 0
    for number, (seconds, size) in enumerate(ready):
        elements += size
        if elements * item >= limit or number == len(ready) - 1:
            yield Bucket(elements=elements, seconds=seconds)
            elements = 0


def busiest_label(labelled: Sequence[tuple[str, Segment]]) -> str:
    """The label with the most time on the core groups, launches not counted."""
    on_chip = {label: segment.seconds - segment.shares.get("launch", 0.0) for label, segment in labelled}
    return max(on_chip, key=lambda label: on_chip[label])
