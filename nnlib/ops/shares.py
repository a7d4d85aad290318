"""How much each number of a batch counts in a loss.

``shares`` (B,) are the samples' parts of the batch's mean: 1/B each where all count alike, and less where these samples
are a part of a larger batch. A sample's own loss is the mean over its positions that are not left out.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def equal_shares(batch: int) -> NDArray[np.float64]:
    """1/B for each sample."""
    return np.full(batch, 1 / batch)


def over_samples(values: NDArray[np.float64], axes: int) -> NDArray[np.float64]:
    """``values`` (B,) with as many axes of length 1 behind that they go with an array of ``axes`` axes."""
    return values.reshape(-1, *(1,) * (axes - 1))


def position_shares(
    shares: Array | None,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[np.floating],
    valid: NDArray[np.bool_] | None = None,
) -> Array:
    """What each of the positions of ``shape`` (B, ...) counts, in a shape that broadcasts with it.

    A sample's share goes in equal parts to its positions, of ``valid`` (B, ...) ones only if given; a sample without
    any counts nothing.
    """
    of_samples = (equal_shares(shape[0]) if shares is None else shares).astype(np.float64)
    if valid is None or valid.all():
        return over_samples(of_samples / prod(shape[1:]), len(shape)).astype(dtype)
    counts = valid.sum(axis=tuple(range(1, len(shape))))
    found: Array = (over_samples(of_samples / np.maximum(counts, 1), len(shape)) * valid).astype(dtype)
    return found


def weighted_sum(values: Array, weights: Array) -> float:
    """``Σ weights·values``; weights (B, 1, ...) that all positions of a sample share are multiplied once."""
    if weights.size == len(weights):
        sums = values.sum(axis=tuple(range(1, values.ndim)), dtype=np.float64)
        return float(np.dot(weights.reshape(-1).astype(np.float64), sums))
    return float((values * weights).sum(dtype=np.float64))
