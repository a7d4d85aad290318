"""The soft Dice loss of segmentation: 1 minus the overlap of what is predicted and what is true.

Of each sample and class the overlap is ``(2·Σ p·t + s)/(Σ p + Σ t + s)`` over the positions that are not left out, with
probabilities p, truth t and the ``smooth`` number s; with ``squared`` the divisor has p² and t² (Milletari et al. 2016,
"V-Net"). A sample's loss is the mean over its classes. ``shares`` (B,): see :mod:`nnlib.ops.shares`; None: the mean
over the samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.shares import Array, equal_shares, over_samples
from nnlib.ops.sigmoids import sigmoid_backward, sigmoid_forward
from nnlib.ops.softmax import softmax_backward, softmax_forward


def dice(
    probabilities: Array,
    labels: NDArray[np.integer],
    shares: Array | None = None,
    *,
    smooth: float = 1.0,
    squared: bool = False,
) -> tuple[float, Array]:
    """Loss and gradient by ``probabilities`` (B, ..., classes); negative ``labels`` (B, ...) are left out."""
    truth = (labels[..., None] == np.arange(probabilities.shape[-1])).astype(probabilities.dtype)
    return _overlap_loss(probabilities, truth, labels >= 0, shares, smooth=smooth, squared=squared)


def dice_with_logits(
    logits: Array,
    labels: NDArray[np.integer],
    shares: Array | None = None,
    *,
    smooth: float = 1.0,
    squared: bool = False,
) -> tuple[float, Array]:
    """The same of the softmax of ``logits`` (B, ..., classes), with the gradient by these."""
    probabilities = softmax_forward(logits)
    loss, grad = dice(probabilities, labels, shares, smooth=smooth, squared=squared)
    return loss, softmax_backward(probabilities, grad, out=grad)


def binary_dice(
    probabilities: Array, target: Array, shares: Array | None = None, *, smooth: float = 1.0, squared: bool = False
) -> tuple[float, Array]:
    """Loss and gradient by ``probabilities`` (B, ...) of one class; negative targets are left out."""
    truth = np.maximum(target, 0).astype(probabilities.dtype, copy=False)[..., None]
    loss, grad = _overlap_loss(probabilities[..., None], truth, target >= 0, shares, smooth=smooth, squared=squared)
    return loss, grad[..., 0]


def binary_dice_with_logits(
    logits: Array, target: Array, shares: Array | None = None, *, smooth: float = 1.0, squared: bool = False
) -> tuple[float, Array]:
    """The same of the sigmoid of ``logits`` (B, ...), with the gradient by these."""
    probabilities = sigmoid_forward(logits)
    loss, grad = binary_dice(probabilities, target, shares, smooth=smooth, squared=squared)
    return loss, sigmoid_backward(probabilities, grad, out=grad)


def _overlap_loss(
    probabilities: Array,
    truth: Array,
    valid: NDArray[np.bool_],
    shares: Array | None,
    *,
    smooth: float,
    squared: bool,
) -> tuple[float, Array]:
    """Loss and gradient of probabilities against ``truth``, both (B, ..., classes)."""
    batch, classes, axes = len(probabilities), probabilities.shape[-1], probabilities.ndim
    positions = tuple(range(1, axes - 1))
    kept = None if valid.all() else valid[..., None]
    p = probabilities if kept is None else probabilities * kept
    if kept is not None:
        truth = truth * kept
    both = (p * truth).sum(axis=positions, dtype=np.float64)
    sizes = (p * p if squared else p).sum(axis=positions, dtype=np.float64)
    sizes += (truth * truth if squared else truth).sum(axis=positions, dtype=np.float64)
    upper, lower = 2 * both + smooth, sizes + smooth
    of_samples = equal_shares(batch) if shares is None else shares.astype(np.float64)
    loss = float(np.dot(of_samples, 1 - (upper / lower).mean(axis=1)))
    # the slope of −upper/lower by a probability: −2·t/lower + upper/lower²·(1 or 2·p)
    scale = over_samples(of_samples, 2) / classes
    outer = (batch, *(1,) * len(positions), classes)
    by_truth = (-2 * scale / lower).reshape(outer).astype(p.dtype)
    by_size = (scale * upper / lower**2).reshape(outer).astype(p.dtype)
    grad: Array = truth * by_truth
    grad += 2 * by_size * p if squared else by_size
    if kept is not None:
        grad *= kept
    return loss, grad
