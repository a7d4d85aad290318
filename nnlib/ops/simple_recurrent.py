"""The cell of a simple (Elman) recurrent network: ``h' = f(x·W + h·R + b)``.

``f``: the hyperbolic tangent, the rectifier, or the rectifier clipped at ``ceiling`` (Deep Speech, Hannun et al. 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from nnlib.ops.recurrent import Kept, States, StepGradients
from nnlib.ops.sequence import Array

Activation: TypeAlias = Literal["tanh", "relu", "clipped_relu"]
CEILING = 20.0
"""Where Deep Speech clips its rectifier."""


def simple_cell(product: Array, *, activation: Activation, ceiling: float = CEILING) -> Array:
    """The new output from the summed products (..., H)."""
    if activation == "tanh":
        return np.tanh(product)
    y = np.maximum(product, 0)
    return np.minimum(y, np.asarray(ceiling, dtype=y.dtype), out=y) if activation == "clipped_relu" else y


def simple_cell_gradient(
    hidden: Array, grad_hidden: Array, *, activation: Activation, ceiling: float = CEILING
) -> Array:
    """Gradient by the products from the new output and the gradient by it."""
    if activation == "tanh":
        return grad_hidden * (1 - hidden * hidden)
    passed = hidden > 0
    if activation == "clipped_relu":
        passed &= hidden < ceiling
    return grad_hidden * passed


@dataclass(frozen=True)
class Simple:
    """The cell as a step of a recurrent layer; its only state is the output."""

    activation: Activation = "tanh"
    ceiling: float = CEILING

    @property
    def gates(self) -> int:
        return 1

    @property
    def states(self) -> int:
        return 1

    def step(self, x_product: Array, states: States, weight: Array, bias: Array | None) -> tuple[States, Kept]:
        """The state after a step, which is also all that is kept."""
        product = states[0] @ weight
        product += x_product
        if bias is not None:
            product += bias
        hidden = simple_cell(product, activation=self.activation, ceiling=self.ceiling)
        return (hidden,), (hidden,)

    def step_gradient(self, kept: Kept, before: States, grads: States, weight: Array) -> StepGradients:
        """Gradients by the products and by the state before, from that by the state after."""
        grad = simple_cell_gradient(kept[0], grads[0], activation=self.activation, ceiling=self.ceiling)
        return grad, None, (grad @ weight.T,)

    def weight_gradient(self, hidden: Array, kept: list[Kept], grad: Array) -> Array:
        """By the recurrent weights, of all steps: ``hidden`` before (T·B, H), ``grad`` by the products (T·B, H)."""
        return hidden.T @ grad
