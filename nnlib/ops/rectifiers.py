"""Activations made of straight pieces, and the exponential units: each forward and backward, element by element.

``out`` takes the result, and may be the array of the first argument. Backward functions get what forward had as ``x``
or gave as ``y``, and the gradient by the output.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from nnlib.ops.in_blocks import Array, in_blocks

SELU_ALPHA: Final = 1.6732632423543772848170429916717
SELU_SCALE: Final = 1.0507009873554804934193349852946
"""Klambauer et al. 2017, "Self-normalizing neural networks", for mean 0 and variance 1."""


def relu_forward(x: Array, *, out: Array | None = None) -> Array:
    """``max(x, 0)``."""
    return np.maximum(x, 0, out=out)


def relu_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """The gradient at 0 is 0."""
    return np.multiply(grad, y > 0, out=out)


def leaky_relu_forward(x: Array, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """``x`` above 0, ``slope·x`` below."""
    return in_blocks(lambda x: _leaky(x, slope), x, out=out)


def leaky_relu_backward(x: Array, grad: Array, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """The slope at 0 is ``slope``."""
    return in_blocks(lambda x, grad: grad * _slopes(x, slope), x, grad, out=out)


def prelu_forward(x: Array, slope: Array, *, out: Array | None = None) -> Array:
    """``x`` above 0, ``slope·x`` below, with a slope for each channel (C,) of ``x`` (..., C), or one (1,) for all."""
    y = np.minimum(x, 0)
    y *= slope
    # above 0 the first term is 0, and below the second
    return np.add(y, np.maximum(x, 0), out=out)


def prelu_backward(x: Array, slope: Array, grad: Array, *, out: Array | None = None) -> tuple[Array, Array]:
    """The gradients by ``x`` and by ``slope``; the slope at 0 is ``slope``."""
    axes = tuple(range(x.ndim - 1))
    below = np.minimum(x, 0)
    below *= grad
    grad_slope = below.sum(axis=axes)
    if slope.shape != grad_slope.shape:
        grad_slope = grad_slope.sum(keepdims=True)
    return np.multiply(grad, np.where(x > 0, 1, slope), out=out), grad_slope


def elu_forward(x: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """``x`` above 0, ``alpha·(eˣ − 1)`` below (Clevert et al. 2016)."""
    return in_blocks(lambda x: _elu(x, alpha), x, out=out)


def elu_backward(y: Array, grad: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """From the output; ``alpha`` is not below 0."""
    return in_blocks(lambda y, grad: grad * _elu_slope(y, alpha), y, grad, out=out)


def selu_forward(x: Array, *, out: Array | None = None) -> Array:
    """``scale·elu(x, alpha)`` with the constants for which activations keep mean 0 and variance 1."""
    return in_blocks(lambda x: SELU_SCALE * _elu(x, SELU_ALPHA), x, out=out)


def selu_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output."""
    alpha = SELU_SCALE * SELU_ALPHA
    # the slope above 0 is the scale, below it y + scale·alpha
    return in_blocks(lambda y, grad: grad * np.where(y > 0, SELU_SCALE, y + alpha), y, grad, out=out)


def clipped_relu_forward(x: Array, *, ceiling: float = 20.0, out: Array | None = None) -> Array:
    """``min(max(x, 0), ceiling)``: with 20 that of Deep Speech 2, with 6 ReLU6."""
    return np.clip(x, 0, ceiling, out=out)


def clipped_relu_backward(y: Array, grad: Array, *, ceiling: float = 20.0, out: Array | None = None) -> Array:
    """From the output; the gradient at 0 and at the ceiling is 0."""
    return in_blocks(lambda y, grad: grad * ((y > 0) & (y < ceiling)), y, grad, out=out)


def relu6_forward(x: Array, *, out: Array | None = None) -> Array:
    """``min(max(x, 0), 6)``."""
    return clipped_relu_forward(x, ceiling=6.0, out=out)


def relu6_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output; the gradient at 0 and at 6 is 0."""
    return clipped_relu_backward(y, grad, ceiling=6.0, out=out)


def hard_sigmoid_forward(x: Array, *, out: Array | None = None) -> Array:
    """``min(max(x + 3, 0), 6)/6``."""
    return in_blocks(_hard_sigmoid, x, out=out)


def hard_sigmoid_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output; the gradient where it reaches 0 or 1 is 0."""
    return in_blocks(lambda y, grad: grad * ((y > 0) & (y < 1)) * (1 / 6), y, grad, out=out)


def hard_swish_forward(x: Array, *, out: Array | None = None) -> Array:
    """``x·hard_sigmoid(x)`` (MobileNetV3)."""
    return in_blocks(lambda x: x * _hard_sigmoid(x), x, out=out)


def hard_swish_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input: the slope is 0 up to −3, 1 from 3 on, ``x/3 + 1/2`` between."""
    return in_blocks(lambda x, grad: grad * np.where(x < 3, np.where(x > -3, x / 3 + 0.5, 0), 1), x, grad, out=out)


def _leaky(x: Array, slope: float) -> Array:
    if 0 < slope <= 1:
        y: Array = slope * x
        return np.maximum(y, x, out=y)
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def _slopes(x: Array, slope: float) -> Array:
    """1 above 0, ``slope`` elsewhere."""
    y = (x > 0).astype(x.dtype)
    y *= 1 - slope
    y += slope
    return y


def _elu(x: Array, alpha: float) -> Array:
    # e^v − 1 is 2·t/(1 − t) with t = tanh(v/2), which NumPy computes several numbers at a time
    y = np.minimum(x, 0)
    y *= 0.5
    np.tanh(y, out=y)
    rest = 1 - y
    y *= 2 * alpha
    y /= rest
    y += np.maximum(x, 0)
    return y


def _elu_slope(y: Array, alpha: float) -> Array:
    slope = np.minimum(y, 0)
    slope += alpha
    return np.where(y > 0, 1, slope)


def _hard_sigmoid(x: Array) -> Array:
    y = x + 3
    np.clip(y, 0, 6, out=y)
    y /= 6
    return y
