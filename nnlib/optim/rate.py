"""The learning rate: scaled with the global batch, warmed up, then constant or falling."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Literal, TypeAlias

Scaling: TypeAlias = Literal["none", "sqrt", "linear"]
ScheduleName: TypeAlias = Literal["constant", "linear", "cosine", "polynomial", "step", "multi_step", "exponential"]


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """``base`` for ``at_batch`` samples per step, scaled with the global batch up to ``cap``.

    The rate rises linearly over ``warmup_steps``. Then ``linear``, ``cosine`` and ``polynomial`` (of ``power``) fall
    over ``decay_steps`` to ``final_fraction`` of the peak. ``step`` multiplies by ``factor`` every ``decay_steps``,
    ``exponential`` by as much in so many steps, but evenly, and ``multi_step`` at each of the steps ``milestones``,
    counted from the first of all steps.
    """

    base: float
    at_batch: int
    scaling: Scaling = "none"
    cap: float | None = None
    warmup_steps: int = 0
    schedule: ScheduleName = "constant"
    decay_steps: int | None = None
    final_fraction: float = 0.0
    power: float = 1.0
    factor: float = 0.1
    milestones: tuple[int, ...] = ()

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
        return peak * self.part(step)

    def part(self, step: int) -> float:
        """The part of the peak that is left at a ``step`` after warm-up."""
        if self.schedule == "multi_step":
            return float(self.factor ** sum(milestone <= step for milestone in self.milestones))
        if self.schedule == "constant" or self.decay_steps is None:
            return 1.0
        after = step - self.warmup_steps
        if self.schedule == "step":
            return float(self.factor ** (after // self.decay_steps))
        if self.schedule == "exponential":
            return float(self.factor ** (after / self.decay_steps))
        done = min(1.0, after / self.decay_steps)
        match self.schedule:
            case "linear":
                left = 1 - done
            case "cosine":
                left = (1 + cos(pi * done)) / 2
            case "polynomial":
                left = (1 - done) ** self.power
        return self.final_fraction + (1 - self.final_fraction) * left
