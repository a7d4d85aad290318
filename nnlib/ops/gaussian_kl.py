"""The divergence of a diagonal normal distribution from the standard one: a term of variational autoencoders.

Kingma and Welling 2014, "Auto-encoding variational Bayes", appendix B.
"""

from __future__ import annotations

import numpy as np

from nnlib.ops.shares import Array, equal_shares, over_samples


def gaussian_kl(mean: Array, log_variance: Array, shares: Array | None = None) -> tuple[float, tuple[Array, Array]]:
    """``Σ (μ² + e^v − 1 − v)/2`` over all numbers of a sample, and its gradients by μ and v, arrays (B, ...).

    ``shares`` (B,): see :mod:`nnlib.ops.shares`; None: the mean over the samples.
    """
    of_samples = equal_shares(len(mean)) if shares is None else shares.astype(np.float64)
    weights = over_samples(of_samples, mean.ndim).astype(mean.dtype)
    # e^v − 1 without cancellation where v is small
    excess = np.expm1(log_variance)
    losses = (mean * mean + (excess - log_variance)).sum(axis=tuple(range(1, mean.ndim)), dtype=np.float64)
    excess *= 0.5 * weights
    return float(0.5 * np.dot(of_samples, losses)), (mean * weights, excess)
