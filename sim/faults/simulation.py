"""Many runs of a job under random failures at once: one array operation per failure, whatever the number of runs.

From one failure to the next a run restarts, works through whole segments, and loses what it began. How many segments
fit is a division, so nothing is stepped through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.faults.plan import CheckpointPlan

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Completions:
    """Runs of a job (runs,): seconds to completion, of which useful, writing, lost and restarting, and failures.

    The four parts add up to ``seconds``.
    """

    seconds: Floats
    useful_seconds: Floats
    write_seconds: Floats
    lost_seconds: Floats
    restart_seconds: Floats
    failures: Integers


def random_gaps(*, mtbf_seconds: float, runs: int, seed: int) -> Iterator[Floats]:
    """Times from one failure of a run to its next (runs,), without end: failures at random, the same for a seed."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.exponential(mtbf_seconds, runs)


def simulate(plan: CheckpointPlan, gaps: Iterator[Floats], *, runs: int) -> Completions:
    """Run ``plan`` ``runs`` times; ``gaps`` gives for each run the time until its first failure, then to the next ones.

    Every item of ``gaps`` is (runs,); the numbers of runs that are through are not looked at. Ends when all are.
    """
    left = np.full(runs, plan.full_segments, dtype=np.int64)
    seconds, writing, lost, restarting = np.zeros((4, runs))
    failures = np.zeros(runs, dtype=np.int64)
    going = np.arange(runs)
    tail = plan.tail_seconds
    last = tail + plan.write_seconds if tail > 0 else 0.0
    restart = 0.0
    while len(going):
        gap = next(gaps)[going]
        free = np.maximum(gap - restart, 0.0)
        needed = left[going] * plan.segment_seconds + last
        through = needed <= gap - restart
        done = np.minimum(np.floor_divide(free, plan.segment_seconds).astype(np.int64), left[going])
        left[going] -= np.where(through, 0, done)
        seconds[going] += np.where(through, restart + needed, gap)
        restarting[going] += np.minimum(gap, restart)
        lost[going] += np.where(through, 0.0, free - done * plan.segment_seconds)
        failures[going] += ~through
        going = going[~through]
        restart = plan.restart_seconds
    writing += plan.write_seconds * (plan.full_segments + (tail > 0))
    return Completions(
        seconds=seconds,
        useful_seconds=np.full(runs, plan.work_seconds),
        write_seconds=writing,
        lost_seconds=lost,
        restart_seconds=restarting,
        failures=failures,
    )
