"""A chip's four core groups running the same list of kernels side by side, launched by their MPEs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sim.chip.counters import KernelTiming
from sim.machine.spec import ProcessorSpec
from sim.time import TICKS_PER_CYCLE, seconds_from_ticks

SHARE_OF_REASON: Final = {
    "compute": "compute",
    "dma_issue": "dma_wait",
    "dma_queue": "dma_wait",
    "dma_wait": "dma_wait",
    "mesh": "mesh_wait",
    "sync": "mesh_wait",
    "idle": "imbalance",
}
"""Under which share of a step each reason of a CPE's time is reported."""


@dataclass(frozen=True)
class Segment:
    """Seconds that a core group spends on one thing, by share; they add up to ``seconds``.

    ``memory_bytes`` move between memory and LDM meanwhile, in whole lines.
    """

    seconds: float
    shares: dict[str, float]
    memory_bytes: int = 0

    def times(self, count: int) -> Segment:
        """So often, one after the other."""
        if count == 1:
            return self
        shares = {name: count * seconds for name, seconds in self.shares.items()}
        return Segment(seconds=count * self.seconds, shares=shares, memory_bytes=count * self.memory_bytes)


def total_seconds(timings: Sequence[KernelTiming], processor: ProcessorSpec) -> float:
    """Seconds of kernels one after the other, each spawned and joined by the MPE."""
    ticks = sum(timing.ticks for timing in timings)
    return len(timings) * processor.mpe.launch_seconds + seconds_from_ticks(ticks, clock_hertz=processor.clock_hertz)


def launch_segment(*, timing: KernelTiming, processor: ProcessorSpec, launch_seconds: float) -> Segment:
    """One kernel launch: ``launch_seconds`` of the MPE, then the kernel, its time shared as its CPEs' mean."""
    clock = processor.clock_hertz
    seconds = launch_seconds + seconds_from_ticks(timing.ticks, clock_hertz=clock)
    shares = {"launch": launch_seconds}
    for reason in timing.reasons:
        name = SHARE_OF_REASON[reason]
        mean = timing.mean_ticks(reason) / (clock * TICKS_PER_CYCLE)
        shares[name] = shares.get(name, 0.0) + mean
    return Segment(seconds=seconds, shares=shares, memory_bytes=timing.dma_lines * processor.dma.line_bytes)


def mpe_segment(seconds: float) -> Segment:
    """Work of the MPE by itself, while the CPEs have nothing to do."""
    return Segment(seconds=seconds, shares={"mpe": seconds})


def joined(segments: Sequence[Segment]) -> Segment:
    """One after the other, as one."""
    return Segment(
        seconds=sum(each.seconds for each in segments),
        shares=add_shares(segments),
        memory_bytes=sum(each.memory_bytes for each in segments),
    )


def group_sync_segment(processor: ProcessorSpec) -> Segment:
    """The core groups of a chip meet through flags in shared memory (TACO18 Alg. 6)."""
    seconds = processor.group_sync_seconds
    return Segment(seconds=seconds, shares={"group_sync": seconds})


def add_shares(segments: Sequence[Segment]) -> dict[str, float]:
    """Seconds by share over all segments."""
    total: dict[str, float] = {}
    for segment in segments:
        for name, seconds in segment.shares.items():
            total[name] = total.get(name, 0.0) + seconds
    return total
