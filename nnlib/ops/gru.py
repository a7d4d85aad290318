"""The cell of a gated recurrent unit (Cho et al. 2014).

Columns of a product (B, 3·H) are the gates in PyTorch's order: reset r, update z, candidate n.
``h' = (1 - σ(z))·n + σ(z)·h`` with ``n = tanh(x_n + σ(r)·(h·R_n + b_n))``, as PyTorch and cuDNN have it; with
``linear_before_reset=False``, ONNX's default and the paper's form, ``n = tanh(x_n + (σ(r)·h)·R_n + b_n)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.ops.lstm import sigmoid
from nnlib.ops.recurrent import Kept, States, StepGradients
from nnlib.ops.sequence import Array


def gru_cell(x_product: Array, h_product: Array, hidden: Array) -> tuple[Array, Array]:
    """From the products (..., 3·H) of the input and of the last output: the opened gates, and the new output."""
    size = hidden.shape[-1]
    gates = np.empty_like(x_product)
    np.add(x_product[..., : 2 * size], h_product[..., : 2 * size], out=gates[..., : 2 * size])
    sigmoid(gates[..., : 2 * size], out=gates[..., : 2 * size])
    reset, update, candidate = _parts(gates, size)
    np.tanh(x_product[..., 2 * size :] + reset * h_product[..., 2 * size :], out=candidate)
    return gates, candidate + update * (hidden - candidate)


def gru_cell_gradient(
    gates: Array, h_candidate: Array, hidden: Array, grad_hidden: Array
) -> tuple[Array, Array, Array]:
    """Gradients by both products, and by the last output as far as it does not go through its product.

    ``h_candidate`` (..., H): the last output's product for the candidate.
    """
    size = hidden.shape[-1]
    reset, update, candidate = _parts(gates, size)
    by_x, by_h = np.empty_like(gates), np.empty_like(gates)
    np.multiply(grad_hidden * (1 - update), 1 - candidate * candidate, out=by_x[..., 2 * size :])
    by_candidate = by_x[..., 2 * size :]
    by_x[..., :size] = by_candidate * h_candidate * reset * (1 - reset)
    by_x[..., size : 2 * size] = grad_hidden * (hidden - candidate) * update * (1 - update)
    by_h[..., : 2 * size] = by_x[..., : 2 * size]
    np.multiply(by_candidate, reset, out=by_h[..., 2 * size :])
    return by_x, by_h, grad_hidden * update


def gru_gates(x_product: Array, h_product: Array, hidden: Array) -> tuple[Array, Array]:
    """Resetting before the product: the opened gates r and z (..., 2·H), and what of the last output is remembered."""
    size = hidden.shape[-1]
    opened = x_product[..., : 2 * size] + h_product
    sigmoid(opened, out=opened)
    return opened, opened[..., :size] * hidden


def gru_candidate(x_candidate: Array, product: Array, opened: Array, hidden: Array) -> tuple[Array, Array]:
    """The candidate from the product of what is remembered, and the new output."""
    candidate = np.tanh(x_candidate + product)
    return candidate, candidate + opened[..., hidden.shape[-1] :] * (hidden - candidate)


def gru_candidate_gradient(opened: Array, candidate: Array, grad_hidden: Array) -> Array:
    """Gradient by the candidate's products."""
    return grad_hidden * (1 - opened[..., candidate.shape[-1] :]) * (1 - candidate * candidate)


def gru_gates_gradient(
    opened: Array, candidate: Array, hidden: Array, grad_hidden: Array, by_remembered: Array
) -> tuple[Array, Array]:
    """Gradients by the gates' products (..., 2·H), and by the last output as far as it does not go through these."""
    size = hidden.shape[-1]
    reset, update = opened[..., :size], opened[..., size:]
    grad = np.empty_like(opened)
    grad[..., :size] = by_remembered * hidden * reset * (1 - reset)
    grad[..., size:] = grad_hidden * (hidden - candidate) * update * (1 - update)
    return grad, grad_hidden * update + by_remembered * reset


def _parts(gates: Array, size: int) -> tuple[Array, ...]:
    return tuple(gates[..., first * size : (first + 1) * size] for first in range(3))


@dataclass(frozen=True)
class Gru:
    """The cell as a step of a recurrent layer; its only state is the output."""

    linear_before_reset: bool = True

    @property
    def gates(self) -> int:
        return 3

    @property
    def states(self) -> int:
        return 1

    def step(self, x_product: Array, states: States, weight: Array, bias: Array | None) -> tuple[States, Kept]:
        """The state after a step; keeps the gates and what the candidate's product made, or was made of."""
        (hidden,) = states
        size = hidden.shape[1]
        if self.linear_before_reset:
            h_product = hidden @ weight
            if bias is not None:
                h_product += bias
            gates, new = gru_cell(x_product, h_product, hidden)
            return (new,), (gates, h_product[:, 2 * size :].copy())
        product = x_product if bias is None else x_product + bias
        opened, remembered = gru_gates(product, hidden @ weight[:, : 2 * size], hidden)
        candidate, new = gru_candidate(product[:, 2 * size :], remembered @ weight[:, 2 * size :], opened, hidden)
        return (new,), (opened, candidate, remembered)

    def step_gradient(self, kept: Kept, before: States, grads: States, weight: Array) -> StepGradients:
        """Gradients by the products and by the state before, from that by the state after."""
        (hidden,) = before
        if self.linear_before_reset:
            gates, h_candidate = kept
            by_x, by_h, rest = gru_cell_gradient(gates, h_candidate, hidden, grads[0])
            rest += by_h @ weight.T
            return by_x, by_h, (rest,)
        opened, candidate, _ = kept
        size = hidden.shape[1]
        by_candidate = gru_candidate_gradient(opened, candidate, grads[0])
        by_remembered = by_candidate @ weight[:, 2 * size :].T
        by_gates, rest = gru_gates_gradient(opened, candidate, hidden, grads[0], by_remembered)
        rest += by_gates @ weight[:, : 2 * size].T
        return np.concatenate([by_gates, by_candidate], axis=1), None, (rest,)

    def weight_gradient(self, hidden: Array, kept: list[Kept], grad: Array) -> Array:
        """By the recurrent weights, of all steps: ``hidden`` before (T·B, H), ``grad`` by the products (T·B, 3·H)."""
        if self.linear_before_reset:
            return hidden.T @ grad
        size = hidden.shape[1]
        remembered = np.concatenate([each for *_, each in kept])
        gates, candidate = hidden.T @ grad[:, : 2 * size], remembered.T @ grad[:, 2 * size :]
        return np.concatenate([gates, candidate], axis=1)
