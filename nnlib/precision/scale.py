"""Steps of fixed point from the largest number that has to fit, one for a tensor or one for each channel."""

from __future__ import annotations

from math import frexp
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnlib.precision.formats import IntegerName, StorageName, integer_bits, integer_limits

Granularity: TypeAlias = Literal["tensor", "channel"]
"""``channel``: a step for each place of the last axis, as output channels of weights are."""


def step_for(largest: ArrayLike, storage: StorageName, *, power_of_two: bool = True) -> NDArray[np.float64]:
    """The smallest step at which numbers up to ``largest`` fit; 1 where that is 0.

    ``power_of_two``: the next power of two, by which a shift multiplies. The most negative integer is not used, so
    that the range is symmetric. Raises ValueError for a magnitude that is negative or not finite.
    """
    magnitude = np.asarray(largest, dtype=np.float64)
    if not np.isfinite(magnitude).all() or (magnitude < 0).any():
        raise ValueError("the largest magnitude has to be finite and not negative")
    _, top = integer_limits(storage)
    step = np.where(magnitude > 0, magnitude, top) / top
    if not power_of_two:
        return step
    fraction, exponent = np.frexp(step)
    return np.ldexp(1.0, np.where(fraction == 0.5, exponent - 1, exponent))


def magnitudes(x: ArrayLike, granularity: Granularity) -> NDArray[np.float64]:
    """max|x| of the whole array, shape (), or of each place of the last axis; 0 for nothing."""
    absolute = np.abs(np.asarray(x, dtype=np.float64))
    if granularity == "tensor":
        return np.asarray(absolute.max(initial=0.0))
    found: NDArray[np.float64] = absolute.reshape(-1, absolute.shape[-1]).max(axis=0, initial=0.0)
    return found


def dynamic_step(x: ArrayLike, storage: StorageName, *, granularity: Granularity = "tensor") -> NDArray[np.float64]:
    """The power of two that suits these very numbers: dynamic fixed point."""
    return step_for(magnitudes(x, granularity), storage)


def headroom_step(largest: float, storage: IntegerName, *, headroom: int) -> float:
    """The smallest power of two at which ``largest`` fits and leaves ``headroom`` bits unused; 1 where that is 0.

    What is rounded to it has the same step again, or a smaller one.
    """
    limit = 2.0 ** (integer_bits(storage) - 1 - headroom) - (headroom == 0)
    fraction, exponent = frexp(largest / limit or 1.0)
    return 2.0 ** (exponent - 1 if fraction == 0.5 else exponent)
