"""What a kernel cost: its time, and for every CPE the reasons that tile that time without gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

REASONS: Final = ("compute", "dma_issue", "dma_queue", "dma_wait", "mesh", "sync", "idle")
"""Why a CPE's clock moved: ``dma_queue`` waits for a free slot of its channel, ``idle`` for the slowest CPE."""


@dataclass(frozen=True)
class Interval:
    """CPE ``cpe`` spent ``start`` to ``end`` (ticks) for ``reason`` in the operation ``label``."""

    cpe: int
    start: int
    end: int
    reason: str
    label: str


@dataclass(frozen=True)
class LoopReport:
    """Iterations of a loop, wherever it was met, how many of them were simulated, and after how many it repeats.

    ``period`` is None for a loop that was simulated plainly because it never repeated (``watched``) or says nothing
    of its iterations.
    """

    name: str
    iterations: int
    simulated: int
    watched: bool
    period: int | None

    def with_another(self, other: LoopReport) -> LoopReport:
        """Both together."""
        return LoopReport(
            self.name,
            self.iterations + other.iterations,
            self.simulated + other.simulated,
            self.watched or other.watched,
            max((period for period in (self.period, other.period) if period is not None), default=None),
        )

    @property
    def words(self) -> str:
        """One line for people."""
        if self.period is not None:
            how = f"{self.simulated:,} simulated, the others repeat every {self.period}"
        elif self.watched:
            how = "all simulated, none repeats an earlier one"
        else:
            how = "all simulated"
        return f"loop {self.name}: {self.iterations:,} iterations, {how}"


@dataclass(frozen=True)
class KernelTiming:
    """Time of one kernel on one core group.

    ``reasons`` holds ticks per reason and CPE; for each CPE they add up to ``ticks``.
    """

    ticks: int
    finish: tuple[int, ...]
    reasons: dict[str, tuple[int, ...]]
    get_bytes: int
    put_bytes: int
    dma_lines: int
    dma_requests: int
    flops: int
    ldm_high_water: int
    loops: tuple[LoopReport, ...] = field(default=(), compare=False)
    intervals: tuple[Interval, ...] = field(default=(), compare=False)

    def mean_ticks(self, reason: str) -> float:
        """Ticks of ``reason``, averaged over the CPEs."""
        values = self.reasons[reason]
        return sum(values) / len(values)
