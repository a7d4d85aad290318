"""Fixed point: numbers as integers times a step; rounding to nearest or stochastic, saturation counted.

The zero point is zero: ``x = q · step`` with q from the integers of a format. Nearest rounds ties to even, as the
conversion instruction does. Stochastic rounding goes up with the probability of the remainder, so that its mean is the
number itself (Gupta et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnlib.precision.formats import STORAGE, IntegerName, StorageName, integer_bits, integer_limits
from nnlib.precision.random import uniform

Rounding: TypeAlias = Literal["nearest", "stochastic"]
Integers: TypeAlias = NDArray[np.signedinteger[Any]]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class FixedPoint:
    """Numbers of ``storage`` with ``fraction`` bits behind the point: steps of 2^-fraction."""

    storage: IntegerName
    fraction: int

    @property
    def step(self) -> float:
        return float(2.0**-self.fraction)

    @property
    def name(self) -> str:
        """For example ``Q8.8``: bits before the point, the sign among them, and behind it."""
        return f"Q{integer_bits(self.storage) - self.fraction}.{self.fraction}"


def rounded(x: ArrayLike, *, rounding: Rounding, key: int = 0, first: int = 0) -> Floats:
    """``x`` rounded to whole numbers, as float64.

    Stochastic: element i of the flattened array takes the random number of place ``first + i`` under ``key``.
    """
    exact = np.asarray(x, dtype=np.float64)
    if rounding == "nearest":
        return np.rint(exact)
    return np.floor(exact + uniform(key, first=first, count=exact.size).reshape(exact.shape))


def saturated(whole: Floats, storage: StorageName) -> tuple[Floats, int]:
    """``whole`` numbers clipped to what a format holds, and how many were outside; not-a-number becomes 0, outside."""
    low, high = integer_limits(storage)
    inside = (whole >= low) & (whole <= high)
    outside = whole.size - int(np.count_nonzero(inside))
    if outside:
        whole = np.clip(np.nan_to_num(whole, nan=0.0, posinf=high, neginf=low), low, high)
    return whole, outside


def quantise(
    x: ArrayLike,
    step: ArrayLike,
    storage: IntegerName,
    *,
    rounding: Rounding = "nearest",
    key: int = 0,
    first: int = 0,
) -> tuple[Integers, int]:
    """The integers nearest (or stochastically next) to ``x · (1 / step)``, and how many saturated.

    ``step`` is one number, or one for each place of the last axis. ``key``, ``first``: see :func:`rounded`.
    """
    scaled = np.asarray(x, dtype=np.float64) * (1 / np.asarray(step, dtype=np.float64))
    whole, outside = saturated(rounded(scaled, rounding=rounding, key=key, first=first), storage)
    return whole.astype(STORAGE[storage]), outside


def dequantise(q: Integers, step: ArrayLike, dtype: np.dtype[np.floating] | type[np.floating]) -> NDArray[Any]:
    """``q · step``, multiplied in float64 and rounded to ``dtype``."""
    values = q.astype(np.float64) * np.asarray(step, dtype=np.float64)
    return values.astype(dtype, copy=False)
