"""Row convolution, the lookahead of Deep Speech 2 (Amodei et al. 2016, §3.6): each channel sees some steps ahead.

``y[t, c] = Σ_j weight[j, c]·x[t + j, c]`` for the taps j; what lies past a sequence's length counts as 0, and so do
the outputs there.
"""

from __future__ import annotations

import numpy as np

from nnlib.ops.sequence import Array, Integers, check_lengths, sequence_mask


def row_convolution_forward(x: Array, weight: Array, *, lengths: Integers | None = None) -> Array:
    """``y`` (B, T, C) of ``x`` (B, T, C) under ``weight`` (taps, C)."""
    steps = x.shape[1]
    x = _inside(x, lengths)
    y = x * weight[0]
    for tap in range(1, min(len(weight), steps)):
        y[:, : steps - tap] += x[:, tap:] * weight[tap]
    return _inside(y, lengths)


def row_convolution_backward(
    x: Array, weight: Array, grad: Array, *, lengths: Integers | None = None
) -> tuple[Array, Array]:
    """Gradients by ``x`` and by ``weight`` from that by ``y``."""
    steps = x.shape[1]
    x, grad = _inside(x, lengths), _inside(grad, lengths)
    by_x, by_weight = grad * weight[0], np.zeros_like(weight)
    for tap in range(min(len(weight), steps)):
        seen = grad[:, : steps - tap]
        by_weight[tap] = np.einsum("btc,btc->c", x[:, tap:], seen)
        if tap:
            by_x[:, tap:] += seen * weight[tap]
    return _inside(by_x, lengths), by_weight


def _inside(x: Array, lengths: Integers | None) -> Array:
    """``x`` with zeros past the lengths."""
    if lengths is None:
        return x
    check_lengths(lengths, batch=len(x), steps=x.shape[1])
    return np.where(sequence_mask(lengths, x.shape[1])[:, :, None], x, 0)
