"""Sums and means over axes, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Reduction: TypeAlias = Literal["sum", "mean"]


def reduce_forward(
    x: Array, axes: Sequence[int] | None = None, *, reduction: Reduction = "sum", keepdims: bool = False
) -> Array:
    """The sum or the mean of ``x`` over ``axes``, all if None; ``keepdims`` leaves them one long."""
    function = np.sum if reduction == "sum" else np.mean
    y: Array = np.asarray(function(x, axis=None if axes is None else tuple(axes), keepdims=keepdims), dtype=x.dtype)
    return y


def reduce_backward(
    grad: Array, input_shape: Sequence[int], axes: Sequence[int] | None = None, *, reduction: Reduction = "sum"
) -> Array:
    """Gradient by an array of ``input_shape`` from the gradient by its sum or mean, axes kept or not."""
    shape = list(input_shape)
    for axis in range(len(shape)) if axes is None else axes:
        shape[axis] = 1
    whole = np.broadcast_to(grad.reshape(shape), tuple(input_shape))
    if reduction == "sum":
        return whole.copy()
    return whole * grad.dtype.type(np.prod(shape) / np.prod(tuple(input_shape)))
