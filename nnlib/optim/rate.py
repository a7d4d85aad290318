"""The learning rate: scaled with the global batch, warmed up, then constant or falling."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Literal, TypeAlias

Scaling: TypeAlias = Literal["none", "sqrt", "linear"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """``base`` for ``at_batch`` samples per step, scaled with the global batch up to ``cap``.

    The rate rises linearly over ``warmup_steps``. ``linear`` and ``cosine`` then fall over ``decay_steps`` to
    ``final_fraction`` of the peak.
    """

    base: float
    at_batch: int
    scaling: Scaling = "none"
    cap: float | None = None
    warmup_steps: int = 0
    schedule: ScheduleName = "constant"
    decay_steps: int | None = None
    final_fraction: float = 0.0

    def peak(self, *, global_batch: int) -> float:
        """The rate after warm-up for ``global_batch`` samples per step."""
        ratio = global_batch / self.at_batch
        rate = self.base * {"none": 1.0, "sqrt": sqrt(ratio), "linear": ratio}[self.scaling]
        return rate if self.cap is None else min(rate, self.cap)

    def at(self, step: int, *, global_batch: int) -> float:
        """The rate of ``step``, counted from 0."""
        peak = self.peak(global_batch=global_batch)
        if step < self.warmup_steps:
            return peak * (step + 1) / (self.warmup_steps + 1)
        if self.schedule == "constant" or self.decay_steps is None:
            return peak
        done = min(1.0, (step - self.warmup_steps) / self.decay_steps)
        left = 1 - done if self.schedule == "linear" else (1 + cos(pi * done)) / 2
        return peak * (self.final_fraction + (1 - self.final_fraction) * left)
