"""Elementary functions of each number, forward and backward.

``out`` takes the result, and may be the array of the first argument. Backward functions get what forward had as ``x``
or gave as ``y``, and the gradient by the output. NumPy warns where a number lies outside a function's domain.
"""

from __future__ import annotations

import numpy as np

from nnlib.ops.in_blocks import Array, in_blocks


def exp_forward(x: Array, *, out: Array | None = None) -> Array:
    """``eˣ``."""
    return np.exp(x, out=out)


def exp_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output."""
    return np.multiply(grad, y, out=out)


def log_forward(x: Array, *, out: Array | None = None) -> Array:
    """The natural logarithm."""
    return np.log(x, out=out)


def log_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input."""
    return np.divide(grad, x, out=out)


def sqrt_forward(x: Array, *, out: Array | None = None) -> Array:
    """The square root."""
    return np.sqrt(x, out=out)


def sqrt_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output."""
    return in_blocks(lambda y, grad: 0.5 * grad / y, y, grad, out=out)


def square_forward(x: Array, *, out: Array | None = None) -> Array:
    """``x²``."""
    return np.multiply(x, x, out=out)


def square_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input."""
    return in_blocks(lambda x, grad: 2 * grad * x, x, grad, out=out)


def reciprocal_forward(x: Array, *, out: Array | None = None) -> Array:
    """``1/x``."""
    return np.reciprocal(x, out=out)


def reciprocal_backward(y: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the output."""
    return in_blocks(lambda y, grad: -grad * (y * y), y, grad, out=out)


def absolute_forward(x: Array, *, out: Array | None = None) -> Array:
    """``|x|``."""
    return np.abs(x, out=out)


def absolute_backward(x: Array, grad: Array, *, out: Array | None = None) -> Array:
    """From the input; the gradient at 0 is 0."""
    return in_blocks(lambda x, grad: grad * np.sign(x), x, grad, out=out)
