"""The cell of long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

Columns of a product (B, 4·H) are the gates in PyTorch's order: input i, forget f, candidate g, output o.
``c' = σ(f)·c + σ(i)·tanh(g)``, ``h' = σ(o)·tanh(c')``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.ops.recurrent import Kept, States, StepGradients
from nnlib.ops.sequence import Array


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """``1/(1 + exp(-x))`` by the hyperbolic tangent, which never overflows."""
    y = np.multiply(x, 0.5, out=out)
    np.tanh(y, out=y)
    y *= 0.5
    y += 0.5
    return y


def lstm_cell(product: Array, cell: Array) -> tuple[Array, Array, Array]:
    """From the summed products (..., 4·H) and the last cell state: the opened gates, the new cell state and output."""
    size = cell.shape[-1]
    gates = np.empty_like(product)
    sigmoid(product, out=gates)
    np.tanh(product[..., 2 * size : 3 * size], out=gates[..., 2 * size : 3 * size])
    input_gate, forget, candidate, output = _parts(gates, size)
    new_cell = forget * cell
    new_cell += input_gate * candidate
    return gates, new_cell, output * np.tanh(new_cell)


def lstm_cell_gradient(
    gates: Array, cell: Array, new_cell: Array, grad_hidden: Array, grad_cell: Array
) -> tuple[Array, Array]:
    """Gradients by the products and by the last cell state, from those by the new output and cell state."""
    size = cell.shape[-1]
    input_gate, forget, candidate, output = _parts(gates, size)
    squashed = np.tanh(new_cell)
    inner = grad_cell + grad_hidden * output * (1 - squashed * squashed)
    grad = np.empty_like(gates)
    by_input, by_forget, by_candidate, by_output = _parts(grad, size)
    by_input[...] = inner * candidate * input_gate * (1 - input_gate)
    by_forget[...] = inner * cell * forget * (1 - forget)
    by_candidate[...] = inner * input_gate * (1 - candidate * candidate)
    by_output[...] = grad_hidden * squashed * output * (1 - output)
    return grad, inner * forget


def _parts(gates: Array, size: int) -> tuple[Array, ...]:
    return tuple(gates[..., first * size : (first + 1) * size] for first in range(4))


@dataclass(frozen=True)
class Lstm:
    """The cell as a step of a recurrent layer; its states are the output h and the cell state c."""

    @property
    def gates(self) -> int:
        return 4

    @property
    def states(self) -> int:
        return 2

    def step(self, x_product: Array, states: States, weight: Array, bias: Array | None) -> tuple[States, Kept]:
        """The states after a step; keeps the opened gates."""
        product = states[0] @ weight
        product += x_product
        if bias is not None:
            product += bias
        gates, cell, hidden = lstm_cell(product, states[1])
        return (hidden, cell), (gates, cell)

    def step_gradient(self, kept: Kept, before: States, grads: States, weight: Array) -> StepGradients:
        """Gradients by the products and by the states before, from those by the states after."""
        gates, cell = kept
        grad, grad_cell = lstm_cell_gradient(gates, before[1], cell, grads[0], grads[1])
        return grad, None, (grad @ weight.T, grad_cell)

    def weight_gradient(self, hidden: Array, kept: list[Kept], grad: Array) -> Array:
        """By the recurrent weights, of all steps: ``hidden`` before (T·B, H), ``grad`` by the products (T·B, 4·H)."""
        return hidden.T @ grad
