"""Binary cross-entropy, on logits and on probabilities: the loss of a batch and its gradient.

``target`` (B, ...) are probabilities of the first of two cases; a negative one leaves its position out. ``shares``
(B,): see :mod:`nnlib.ops.shares`; None: the mean over the samples.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from nnlib.ops.in_blocks import in_blocks
from nnlib.ops.shares import Array, position_shares, weighted_sum
from nnlib.ops.sigmoids import sigmoid, softplus

LEAST_LOGARITHM: Final = -100.0
"""A probability of 0 counts as if its logarithm were this, as PyTorch has it."""
LEAST_VARIANCE: Final = 1e-12
"""The gradient divides by ``p·(1 − p)``, which counts as at least this."""


def binary_cross_entropy_with_logits(
    logits: Array, target: Array, shares: Array | None = None, *, positive_weight: float = 1.0
) -> tuple[float, Array]:
    """``−w·t·log σ(x) − (1 − t)·log(1 − σ(x))`` of logits x (B, ...), ``positive_weight`` w."""
    weights, t = _weights_and_target(logits, target, shares)
    loss = weighted_sum(in_blocks(lambda x, t: logit_losses(x, t, positive_weight), logits, t), weights)
    grad = in_blocks(lambda x, t: logit_slopes(x, t, positive_weight), logits, t)
    grad *= weights
    return loss, grad


def binary_cross_entropy(probabilities: Array, target: Array, shares: Array | None = None) -> tuple[float, Array]:
    """``−t·log p − (1 − t)·log(1 − p)`` of probabilities p (B, ...)."""
    weights, t = _weights_and_target(probabilities, target, shares)
    loss = weighted_sum(in_blocks(probability_losses, probabilities, t), weights)
    grad = in_blocks(probability_slopes, probabilities, t)
    grad *= weights
    return loss, grad


def logit_losses(x: Array, target: Array, positive_weight: float) -> Array:
    """The loss of each position."""
    if positive_weight == 1:
        return softplus(x) - target * x
    return (1 - target) * softplus(x) + positive_weight * target * softplus(-x)


def logit_slopes(x: Array, target: Array, positive_weight: float) -> Array:
    """Its slope: ``(1 − t)·σ − w·t·(1 − σ)``."""
    y = sigmoid(x)
    return y - target if positive_weight == 1 else (1 - target) * y - positive_weight * target * (1 - y)


def probability_losses(p: Array, target: Array) -> Array:
    """The loss of each position."""
    with np.errstate(divide="ignore"):  # bounded at once
        first, second = np.log(p), np.log1p(-p)
    first, second = np.maximum(first, LEAST_LOGARITHM), np.maximum(second, LEAST_LOGARITHM)
    return (target - 1) * second - target * first


def probability_slopes(p: Array, target: Array) -> Array:
    """Its slope: ``(p − t)/(p·(1 − p))``."""
    return (p - target) / np.maximum(p * (1 - p), LEAST_VARIANCE)


def _weights_and_target(values: Array, target: Array, shares: Array | None) -> tuple[Array, Array]:
    """What each position counts, and targets in 0 to 1."""
    valid = target >= 0
    weights = position_shares(shares, shape=values.shape, dtype=values.dtype, valid=valid)
    return weights, np.maximum(target, 0).astype(values.dtype, copy=False)
