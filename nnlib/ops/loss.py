"""Softmax cross-entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.integer], weights: Array | None = None, *, total: float | None = None
) -> tuple[float, Array]:
    """Mean loss over the samples and its gradient by ``logits`` (B, classes).

    ``weights`` (B,) are multiplicities: the mean is over their sum, as if each sample stood there that often, or over
    ``total`` where these samples are a part of the batch.
    """
    counts = np.ones(len(logits)) if weights is None else weights
    shares = (counts / (counts.sum(dtype=np.float64) if total is None else total)).astype(logits.dtype)
    rows = np.arange(len(logits))
    grad = logits - logits.max(axis=1, keepdims=True)
    picked = grad[rows, labels]
    np.exp(grad, out=grad)
    sums = grad.sum(axis=1)
    loss = float(np.dot(shares.astype(np.float64), np.log(sums).astype(np.float64) - picked))
    grad *= (shares / sums)[:, None]
    grad[rows, labels] -= shares
    return loss, grad
