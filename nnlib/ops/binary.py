"""Sums, differences, products and quotients of two arrays under NumPy's rules of broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
BinaryFunction: TypeAlias = Literal["add", "subtract", "multiply", "divide"]

FUNCTIONS: Final[Mapping[BinaryFunction, Callable[..., Array]]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
}


def binary_forward(function: BinaryFunction, a: Array, b: Array) -> Array:
    """``a`` + ``b``, ``a`` - ``b``, ``a`` · ``b`` or ``a`` / ``b``. Raises ValueError if they do not broadcast."""
    return FUNCTIONS[function](a, b)


def binary_backward(function: BinaryFunction, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
    """Gradients by ``a`` and by ``b``, of their shapes, from that by the result."""
    match function:
        case "add":
            of_a, of_b = grad, grad
        case "subtract":
            of_a, of_b = grad, -grad
        case "multiply":
            of_a, of_b = grad * b, grad * a
        case "divide":
            of_a = grad / b
            of_b = -of_a * (a / b)
    return sum_to_shape(of_a, a.shape), sum_to_shape(of_b, b.shape)


def sum_to_shape(grad: Array, shape: Sequence[int]) -> Array:
    """``grad`` summed over the axes along which an array of ``shape`` was broadcast to it."""
    ahead = grad.ndim - len(shape)
    axes = tuple(range(ahead)) + tuple(
        axis + ahead for axis, length in enumerate(shape) if length == 1 and grad.shape[axis + ahead] != 1
    )
    if not axes:
        return grad
    total: Array = grad.sum(axis=axes, keepdims=True)
    return total.reshape(tuple(shape))
