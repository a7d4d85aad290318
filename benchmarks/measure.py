"""Timing side by side: candidates take turns, so that a noisy machine disturbs all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def side_by_side(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    pause: float = 0.0,
    wake: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median host seconds of each candidate over ``rounds`` rounds, after one round of warm-up.

    ``pause``: seconds before each, in which the threads of the one before go to sleep. ``wake``: one call
    before each that counts, so that a candidate's own threads are awake, as they are in the midst of a program.
    ``clock``: ``time.process_time`` counts a single thread's own time where other programs have the cores too.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, call in candidates.items():
            time.sleep(pause)
            if wake:
                call()
            begin = clock()
            call()
            if number:
                taken[name].append(clock() - begin)
    return {name: median(seconds) for name, seconds in taken.items()}


def verdict(label: str, value: float, limit: float, unit: str = "") -> bool:
    """Print a measured value beside its limit; True if it holds."""
    holds = value <= limit
    print(f"{label:<58}{value:10.3g}{unit}   limit {limit:g}{unit}   {'ok' if holds else 'MISSED'}")
    return holds
