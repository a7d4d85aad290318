"""Losses of numbers against numbers: each gives the loss of a batch and its gradient by the prediction.

``shares`` (B,): see :mod:`nnlib.ops.shares`; None: the mean over the samples.
"""

from __future__ import annotations

import numpy as np

from nnlib.ops.in_blocks import in_blocks
from nnlib.ops.shares import Array, position_shares, weighted_sum


def mean_squared_error(prediction: Array, target: Array, shares: Array | None = None) -> tuple[float, Array]:
    """``(prediction − target)²`` of arrays (B, ...)."""
    weights = position_shares(shares, shape=prediction.shape, dtype=prediction.dtype)
    grad: Array = prediction - target
    loss = weighted_sum(in_blocks(lambda d: d * d, grad), weights)
    grad *= 2 * weights
    return loss, grad


def mean_absolute_error(prediction: Array, target: Array, shares: Array | None = None) -> tuple[float, Array]:
    """``|prediction − target|`` of arrays (B, ...); the gradient at 0 is 0."""
    weights = position_shares(shares, shape=prediction.shape, dtype=prediction.dtype)
    grad: Array = prediction - target
    loss = weighted_sum(np.abs(grad), weights)
    np.sign(grad, out=grad)
    grad *= weights
    return loss, grad


def smooth_l1(
    prediction: Array, target: Array, shares: Array | None = None, *, beta: float = 1.0
) -> tuple[float, Array]:
    """``d²/(2·beta)`` of differences d of arrays (B, ...) below ``beta``, ``|d| − beta/2`` above (Girshick 2015)."""
    weights = position_shares(shares, shape=prediction.shape, dtype=prediction.dtype)
    grad: Array = prediction - target
    loss = weighted_sum(in_blocks(lambda d: smooth_absolute(d, beta), grad), weights)
    grad *= 1 / beta
    np.clip(grad, -1, 1, out=grad)
    grad *= weights
    return loss, grad


def smooth_absolute(difference: Array, beta: float) -> Array:
    """``d²/(2·beta)`` below ``beta``, ``|d| − beta/2`` above."""
    size = np.abs(difference)
    # with c = min(|d|, beta) both are c·(|d| − c/2)/beta
    inner = np.minimum(size, beta)
    size -= 0.5 * inner
    inner *= size
    inner /= beta
    return inner
