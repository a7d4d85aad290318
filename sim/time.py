"""The one place where ticks, cycles and seconds meet.

On a chip, simulated time is an integer number of ticks, 1,000 to a CPE cycle: a 128 B memory line takes
6.67 cycles, so whole cycles would be 5 % off, and integers make repeated states comparable exactly.
Between chips simulated time is seconds in float64.
"""

from __future__ import annotations

TICKS_PER_CYCLE = 1000


def ticks_from_cycles(cycles: float) -> int:
    """Ticks of a duration in CPE cycles, rounded to the nearest tick."""
    return round(cycles * TICKS_PER_CYCLE)


def ticks_from_seconds(seconds: float, *, clock_hertz: float) -> int:
    """Ticks of a duration in seconds on a chip with the given clock, rounded to the nearest tick."""
    return round(seconds * clock_hertz * TICKS_PER_CYCLE)


def seconds_from_ticks(ticks: int, *, clock_hertz: float) -> float:
    """Seconds of a number of ticks on a chip with the given clock."""
    return ticks / (clock_hertz * TICKS_PER_CYCLE)
