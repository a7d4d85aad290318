"""Linear maps of vectors along the last axis, whatever axes lie before it.

``transposed``: the weights are (features out, features in), as most importers and shared embeddings have them.
"""

from __future__ import annotations

from nnlib.ops.products import Array, product


def linear_forward(x: Array, weight: Array, bias: Array | None = None, *, transposed: bool = False) -> Array:
    """``y = x·weight + bias``: (..., Fi) to (..., Fo), weight (Fi, Fo)."""
    matrix = weight.T if transposed else weight
    # one product of all vectors: with more axes each matrix would be multiplied by itself
    y = product(x.reshape(-1, x.shape[-1]), matrix).reshape(*x.shape[:-1], matrix.shape[1])
    if bias is not None:
        y += bias
    return y


def linear_input_gradient(grad: Array, weight: Array, *, transposed: bool = False) -> Array:
    """Gradient by ``x`` (..., Fi) from the gradient by ``y`` (..., Fo)."""
    return linear_forward(grad, weight, transposed=not transposed)


def linear_weight_gradient(grad: Array, x: Array, *, transposed: bool = False) -> Array:
    """Gradient by the weights, (Fi, Fo) or, ``transposed``, (Fo, Fi)."""
    ins, outs = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
    return product(outs.T, ins) if transposed else product(ins.T, outs)
