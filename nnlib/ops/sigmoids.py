"""Smooth activations: each forward and backward, element by element, safe for numbers of any size.

``out`` takes the result, and may be the array of the first argument. Backward functions get what forward had as ``x``
or gave as ``y``, and the gradient by the output.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Final

import numpy as np

from nnlib.ops.erf import erf, normal_cdf, normal_density
from nnlib.ops.in_blocks import Array, in_blocks

GELU_SCALE: Final = sqrt(2 / pi)
GELU_CUBIC: Final = 0.044715
"""Hendrycks and Gimpel 2016, "Gaussian error linear units"."""
GELU_BOUND: Final = 12.0
"""Beyond, the tanh of GELU's approximation is ±1 and its slope is below the smallest normal float32."""


def sigmoid_forward(x: Array, *, out: Array | None = None) -> Array:
    """``1/(1 + e⁻ˣ)``."""
    return in_blocks(sigmoid, x, out=out)


def sigmoid_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output."""
    return in_blocks(lambda y, grad: grad * (1 - y) * y, y, grad, out=out)


def tanh_forward(x: Array, *, out: Array | None = None) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x, out=out)


def tanh_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output."""
    return in_blocks(lambda y, grad: grad * (1 - y * y), y, grad, out=out)


def gelu_forward(x: Array, *, out: Array | None = None) -> Array:
    """``x·Φ(x)`` with the standard normal distribution Φ."""
    return in_blocks(lambda x: x * normal_cdf(x), x, out=out)


def gelu_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input: ``Φ(x) + x·φ(x)``."""
    return in_blocks(lambda x, grad: grad * (normal_cdf(x) + x * normal_density(x)), x, grad, out=out)


def gelu_tanh_forward(x: Array, *, out: Array | None = None) -> Array:
    """``x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))``."""
    return in_blocks(lambda x: 0.5 * x * (1 + _gelu_tanh(x)[0]), x, out=out)


def gelu_tanh_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input."""

    def of(x: Array, grad: Array) -> Array:
        tanh, bounded = _gelu_tanh(x)
        inner = GELU_SCALE * (1 + 3 * GELU_CUBIC * bounded * bounded)
        return 0.5 * grad * (1 + tanh + bounded * inner * (1 - tanh * tanh))

    return in_blocks(of, x, grad, out=out)


def erf_forward(x: Array, *, out: Array | None = None) -> Array:
    """The error function, ``2/√π · ∫₀ˣ exp(-t²) dt``."""
    return erf(x, out=out)


def erf_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input."""
    return in_blocks(lambda x, grad: grad * (2 / np.sqrt(np.pi)) * np.exp(-x * x), x, grad, out=out)


def silu_forward(x: Array, *, out: Array | None = None) -> Array:
    """``x·sigmoid(x)``, also called swish."""
    return in_blocks(lambda x: x * sigmoid(x), x, out=out)


def silu_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input."""

    def of(x: Array, grad: Array) -> Array:
        y = sigmoid(x)
        return grad * (y + x * (y * (1 - y)))

    return in_blocks(of, x, grad, out=out)


def softplus_forward(x: Array, *, out: Array | None = None) -> Array:
    """``log(1 + eˣ)``."""
    return in_blocks(softplus, x, out=out)


def softplus_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input."""
    return in_blocks(lambda x, grad: grad * sigmoid(x), x, grad, out=out)


def sigmoid(x: Array) -> Array:
    """A new array, whole: for functions that go in blocks themselves."""
    y = np.negative(x)
    with np.errstate(over="ignore"):  # an infinite exponential gives 0, which is right
        np.exp(y, out=y)
    y += 1
    return np.reciprocal(y, out=y)


def softplus(x: Array) -> Array:
    """A new array, whole: for functions that go in blocks themselves."""
    y = np.abs(x)
    np.negative(y, out=y)
    np.exp(y, out=y)
    # the logarithm of the rounded sum, and what rounding took: NumPy's log1p takes one number at a time
    total = y + 1
    y -= total - 1
    y /= total
    y += np.log(total, out=total)
    y += np.maximum(x, 0)
    return y


def _gelu_tanh(x: Array) -> tuple[Array, Array]:
    """The tanh in GELU's approximation, and ``x`` kept within the bound beyond which it does not change."""
    bounded = np.clip(x, -GELU_BOUND, GELU_BOUND)
    y = bounded * bounded
    y *= GELU_CUBIC
    y += 1
    y *= bounded
    y *= GELU_SCALE
    return np.tanh(y, out=y), bounded
