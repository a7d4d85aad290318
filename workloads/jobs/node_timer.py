"""Times what one node does: its core groups run a program side by side on their shares of the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.launching import launches_of, mpe_seconds
from nnlib.kernels.pointwise.elementwise import SumCopies
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.program import Launch, Program
from nnlib.update import clip_kernels, state_kinds, update_kernels
from sim.chip.processor import Segment, add_shares, group_sync_segment, joined, launch_segment, mpe_segment
from sim.machine.spec import MachineSpec
from workloads.mapping import Mapping


@dataclass(frozen=True)
class NodeTimer:
    """The machine's processor, how the workload is mapped, and how many of the core groups have samples."""

    machine: MachineSpec
    mapping: Mapping
    clock: KernelClock
    active_core_groups: int

    @property
    def launch_seconds(self) -> float:
        """MPE time per kernel: spawn and join, or with persistent threads one meeting through shared flags."""
        processor = self.machine.processor
        return processor.group_sync_seconds if self.mapping.persistent_threads else processor.mpe.launch_seconds

    @property
    def sharers(self) -> int:
        """Core groups that share weights, and with them the work of the update."""
        return self.active_core_groups if self.mapping.ranks_per_node == 1 else 1

    def once(self) -> list[Segment]:
        """What a step pays once: with persistent threads they are spawned and joined once."""
        if not self.mapping.persistent_threads:
            return []
        seconds = self.machine.processor.mpe.launch_seconds
        return [Segment(seconds=seconds, shares={"launch": seconds})]

    def launch(self, kernel: Kernel) -> Segment:
        """One kernel on every active core group, or the launches that stand for it."""
        segments = [self._one(each).times(count) for each, count in launches_of(kernel)]
        return segments[0] if len(segments) == 1 else joined(segments)

    def _one(self, kernel: Kernel) -> Segment:
        processor = self.machine.processor
        alone = mpe_seconds(kernel, processor)
        if alone is not None:
            return mpe_segment(alone)
        return launch_segment(timing=self.clock.time(kernel), processor=processor, launch_seconds=self.launch_seconds)

    def program(self, program: Program) -> Iterator[tuple[Launch, Segment]]:
        """Each launch of a program with its time; equal kernels of a program are one object."""
        known: dict[int, Segment] = {}
        for launch in program.launches:
            segment = known.get(id(launch.kernel))
            if segment is None:
                segment = known[id(launch.kernel)] = self.launch(launch.kernel)
            yield launch, segment

    def flops(self, program: Program) -> int:
        """Floating-point operations of the program on all active core groups."""
        times = Counter(id(launch.kernel) for launch in program.launches)
        kernels = {id(launch.kernel): launch.kernel for launch in program.launches}
        return self.active_core_groups * sum(times[each] * self._flops(kernel) for each, kernel in kernels.items())

    def _flops(self, kernel: Kernel) -> int:
        """Of one kernel on a core group; what the MPE does by itself does not count."""
        on_cpes = (pair for pair in launches_of(kernel) if mpe_seconds(pair[0], self.machine.processor) is None)
        return sum(count * self.clock.time(each).flops for each, count in on_cpes)

    def sum_groups(self, elements: int) -> list[Segment]:
        """The core groups meet and each adds up its part of all their gradients."""
        if self.sharers == 1:
            return []
        part = -(-elements // self.active_core_groups)
        kernel = SumCopies(count=self.active_core_groups, elements=part, dtype=self.mapping.dtype)
        return [group_sync_segment(self.machine.processor), self.launch(kernel)]

    def update(self, *, optimizer: Optimizer, sizes: Sequence[int], clip: Clip | None = None) -> list[Segment]:
        """Clipping and the optimiser's step: core groups that share weights share the work."""
        sharers = self.sharers
        dtype = self.mapping.dtype
        segments: list[Segment] = []
        if clip is not None:
            clipping = clip_kernels(clip=clip, elements=sum(sizes), sharers=sharers, dtype=dtype)
            segments += [self.launch(kernel) for kernel in clipping]
            if len(clipping) > 1 and sharers > 1:  # each needs the others' part of the norm
                meeting = [segments[0], group_sync_segment(self.machine.processor)]
                seconds = sum(segment.seconds for segment in meeting)
                moved = segments[0].memory_bytes
                segments[0] = Segment(seconds=seconds, shares=add_shares(meeting), memory_bytes=moved)
        kernels = update_kernels(optimizer=optimizer, sizes=sizes, sharers=sharers, dtype=dtype)
        if self.mapping.fixed is not None:
            from nnlib.quantised.lower_training import update_roundings

            kinds, scheme = len(state_kinds(optimizer)), self.mapping.fixed
            kernels += update_roundings(sizes=sizes, kinds=kinds, sharers=sharers, dtype=dtype, scheme=scheme)
        return [*segments, *(self.launch(kernel) for kernel in kernels)]


def label(launch: Launch) -> str:
    """What a launch is called: kernel, layer and phase."""
    return f"{launch.kernel.name} of {launch.layer} ({launch.phase})"


def busiest_label(timed: Sequence[tuple[Launch, Segment]]) -> str:
    """The label with the most time on the core groups, launches not counted."""
    on_chip = {label(launch): segment.seconds - segment.shares.get("launch", 0.0) for launch, segment in timed}
    return max(on_chip, key=lambda name: on_chip[name])
