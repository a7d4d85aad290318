"""Simulated time as whole picoseconds, so that sums are the same in any order.

A run of hours has 10^16 of them: more than a float counts exactly, far less than an int64 holds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Picoseconds = NDArray[np.int64]
PER_SECOND: Final = 1e12


def picoseconds(seconds: ArrayLike) -> Picoseconds:
    """The nearest whole numbers of picoseconds, in the shape of ``seconds``."""
    return np.rint(np.multiply(seconds, PER_SECOND)).astype(np.int64)


def seconds_of(duration: int | np.integer) -> float:
    """Seconds of a duration in picoseconds."""
    return float(duration) / PER_SECOND
