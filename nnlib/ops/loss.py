"""Softmax cross-entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.shares import position_shares

Array = NDArray[np.floating]


def softmax_cross_entropy(
    logits: Array,
    labels: NDArray[np.integer],
    weights: Array | None = None,
    *,
    total: float | None = None,
    class_weights: Array | None = None,
    smoothing: float = 0.0,
) -> tuple[float, Array]:
    """Mean loss over the samples and its gradient by ``logits`` (B, ..., classes), against ``labels`` (B, ...).

    ``weights`` (B,) are multiplicities: the mean is over their sum, as if each sample stood there that often, or over
    ``total`` where these samples are a part of the batch. A sample's loss is the mean over its positions whose label is
    not negative. ``class_weights`` (classes,) multiply a position's loss; they do not change what it is divided by.
    ``smoothing``: this part of a label is shared out to all classes alike (Szegedy et al. 2016).
    """
    counts = np.ones(len(logits)) if weights is None else weights
    divided = counts / (counts.sum(dtype=np.float64) if total is None else total)
    valid = labels >= 0
    if labels.ndim == 1 and valid.all():
        shares = divided.astype(logits.dtype)
    else:
        shares = position_shares(divided, shape=labels.shape, dtype=logits.dtype, valid=valid)
        shares = np.broadcast_to(shares, labels.shape)
    chosen = np.maximum(labels, 0)[..., None]
    grad: Array = logits - logits.max(axis=-1, keepdims=True)
    if class_weights is None and not smoothing:
        picked = np.take_along_axis(grad, chosen, axis=-1)[..., 0]
        np.exp(grad, out=grad)
        sums = grad.sum(axis=-1)
        losses = np.log(sums).astype(np.float64) - picked
        grad *= (shares / sums)[..., None]
        np.put_along_axis(grad, chosen, np.take_along_axis(grad, chosen, axis=-1) - shares[..., None], axis=-1)
    else:
        losses = _smoothed(grad, chosen, shares, class_weights, smoothing)
    return float(np.dot(shares.reshape(-1).astype(np.float64), losses.reshape(-1))), grad


def _smoothed(
    shifted: Array, chosen: NDArray[np.integer], shares: Array, class_weights: Array | None, smoothing: float
) -> NDArray[np.float64]:
    """Losses of the positions, from logits without their maximum, which the gradient replaces.

    The targets are ``q = (1 − ε)·onehot + ε/classes``, times the class weights.
    """
    classes = shifted.shape[-1]
    factors = np.ones(classes, shifted.dtype) if class_weights is None else class_weights.astype(shifted.dtype)
    target = factors[chosen] * (1 - smoothing)
    rest = factors * (smoothing / classes)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=-1, keepdims=True)
    shifted -= np.log(sums)
    picked = np.take_along_axis(shifted, chosen, axis=-1)
    losses: NDArray[np.float64] = -(target * picked)[..., 0].astype(np.float64) - shifted @ rest
    np.multiply(exponentials, (target + rest.sum()) / sums, out=shifted)
    shifted -= rest
    np.put_along_axis(shifted, chosen, np.take_along_axis(shifted, chosen, axis=-1) - target, axis=-1)
    shifted *= shares[..., None]
    return losses
