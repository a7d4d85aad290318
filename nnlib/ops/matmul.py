"""Products of two stacks of matrices whose leading axes broadcast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def matmul_forward(a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """``op(a) · op(b)``: (..., m, k) · (..., k, n) to (..., m, n).

    A transposed operand is stored (..., k, m) or (..., n, k). Raises ValueError where the shapes do not fit.
    """
    left, right = _op(a, transpose_a), _op(b, transpose_b)
    if right.ndim == 2 and left.ndim > 2:  # one product instead of one for each matrix of the stack
        return (left.reshape(-1, left.shape[-1]) @ right).reshape(*left.shape[:-1], right.shape[1])
    product: Array = left @ right
    return product


def matmul_backward(
    grad: Array,
    a: Array,
    b: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    needs: tuple[bool, bool] = (True, True),
) -> tuple[Array | None, Array | None]:
    """Gradients by ``a`` and ``b``, summed over the axes along which an operand was broadcast; None if not needed."""
    grad_a = grad_b = None
    if needs[0]:
        product = matmul_forward(grad, b, transpose_b=not transpose_b)
        grad_a = summed_to(_op(product, transpose_a), a.shape)
    if needs[1]:
        if _op(b, transpose_b).ndim == 2 and a.ndim > 2:
            flat, rows = grad.reshape(-1, grad.shape[-1]), _op(a, transpose_a)
            grad_b = _op(rows.reshape(-1, rows.shape[-1]).T @ flat, transpose_b)
        else:
            product = matmul_forward(a, grad, transpose_a=not transpose_a)
            grad_b = summed_to(_op(product, transpose_b), b.shape)
    return grad_a, grad_b


def summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """``x`` summed over the axes that broadcasting had added to ``shape``, or stretched from length 1."""
    added = x.ndim - len(shape)
    axes = (*range(added), *(axis for axis in range(added, x.ndim) if shape[axis - added] == 1 < x.shape[axis]))
    return x.sum(axis=axes, keepdims=True).reshape(shape) if axes else x


def _op(x: Array, transpose: bool) -> Array:
    return x.swapaxes(-1, -2) if transpose else x
