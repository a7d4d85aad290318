"""A job that saves its state from time to time, and the time it is expected to take while parts of the machine fail.

The work is cut into segments of one interval, the last one shorter; behind each the state is written. A failure during
a segment or its write loses the segment. Then the job is restarted from what was written last, and a failure during a
restart begins the restart anew. The machine has spare nodes: a restart never waits for a repair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, expm1, floor, inf, sqrt
from typing import Final

ROUNDING: Final = 1e-9
MAX_EXPONENT: Final = 700.0
"""Beyond it exp() overflows; such a job never ends."""


@dataclass(frozen=True, kw_only=True)
class CheckpointPlan:
    """``work_seconds`` without any failure or checkpoint, one every ``interval_seconds`` of work.

    ``write_seconds`` per checkpoint; ``restart_seconds`` from a failure until the work goes on, the reading of the
    checkpoint included. Raises ValueError for times that are not above zero (write and restart may be zero).
    """

    work_seconds: float
    interval_seconds: float
    write_seconds: float
    restart_seconds: float

    def __post_init__(self) -> None:
        if not (self.work_seconds > 0 and self.interval_seconds > 0):
            raise ValueError("work and interval have to be above zero")
        if not (self.write_seconds >= 0 and self.restart_seconds >= 0):
            raise ValueError("the times of writing and restarting must not be negative")

    @property
    def full_segments(self) -> int:
        """Segments of a whole interval; what is less than a billionth short of one is one."""
        return floor(self.work_seconds / self.interval_seconds + ROUNDING)

    @property
    def tail_seconds(self) -> float:
        """Work of the last, shorter segment; 0 if there is none."""
        tail = self.work_seconds - self.full_segments * self.interval_seconds
        return tail if tail > ROUNDING * self.interval_seconds else 0.0

    @property
    def segment_seconds(self) -> float:
        """A whole interval and its write."""
        return self.interval_seconds + self.write_seconds

    @property
    def faultless_seconds(self) -> float:
        """The job's time if nothing fails."""
        tail = self.tail_seconds
        return self.full_segments * self.segment_seconds + (tail + self.write_seconds if tail > 0 else 0.0)

    def expected_seconds(self, mtbf_seconds: float) -> float:
        """Expected time to completion under failures at random with the mean time ``mtbf_seconds`` between them.

        Daly (2006), equation 20, for whole segments and the tail: a segment of length w takes M e^(R/M) (e^(w/M) - 1).
        Infinite where that is beyond all numbers, or without work ever done between failures.
        """
        mtbf, tail = mtbf_seconds, self.tail_seconds
        longest = max(self.segment_seconds if self.full_segments else 0.0, tail + self.write_seconds)
        if max(longest, self.restart_seconds) / mtbf > MAX_EXPONENT / 2:
            return inf
        whole = self.full_segments * expm1(self.segment_seconds / mtbf) if self.full_segments else 0.0
        rest = expm1((tail + self.write_seconds) / mtbf) if tail > 0 else 0.0
        return mtbf * exp(self.restart_seconds / mtbf) * (whole + rest)

    def with_interval(self, seconds: float) -> CheckpointPlan:
        """The same job with another interval."""
        return replace(self, interval_seconds=seconds)


def young_interval(*, write_seconds: float, mtbf_seconds: float) -> float:
    """Seconds of work between checkpoints to first order: sqrt(2 δ M) (Young 1974)."""
    return sqrt(2 * write_seconds * mtbf_seconds)


def daly_interval(*, write_seconds: float, mtbf_seconds: float) -> float:
    """Seconds of work between checkpoints to higher order (Daly 2006, equation 37)."""
    if write_seconds >= 2 * mtbf_seconds:
        return mtbf_seconds
    ratio = write_seconds / (2 * mtbf_seconds)
    return (
        young_interval(write_seconds=write_seconds, mtbf_seconds=mtbf_seconds) * (1 + sqrt(ratio) / 3 + ratio / 9)
        - write_seconds
    )
