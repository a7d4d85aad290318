"""Softmax and its logarithm along an axis."""

from __future__ import annotations

import numpy as np

from nnlib.ops.in_blocks import Array


def softmax_forward(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """``eˣ/Σeˣ`` along ``axis``; the largest number is taken off first, so that nothing overflows."""
    y: Array = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    np.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y


def softmax_backward(y: Array, grad: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """From the output: ``y·(grad − Σ y·grad)``."""
    product = y * grad
    total = product.sum(axis=axis, keepdims=True)
    product -= y * total
    if out is None:
        return product
    out[...] = product
    return out


def log_softmax_forward(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """``x − log Σeˣ`` along ``axis``."""
    y: Array = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


def log_softmax_backward(y: Array, grad: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """From the output: ``grad − eʸ·Σ grad``."""
    shares = np.exp(y)
    shares *= grad.sum(axis=axis, keepdims=True)
    return np.subtract(grad, shares, out=out)
