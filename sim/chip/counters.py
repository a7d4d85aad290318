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
    intervals: tuple[Interval, ...] = field(default=(), compare=False)

    def mean_ticks(self, reason: str) -> float:
        """Ticks of ``reason``, averaged over the CPEs."""
        values = self.reasons[reason]
        return sum(values) / len(values)
