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
        """The state after a step; keeps the opened gates, and what the candidate's weights were multiplied to or by."""
        (hidden,) = states
        size = hidden.shape[1]
        if self.linear_before_reset:
            h_product = hidden @ weight
            if bias is not None:
                h_product += bias
            gates, new = gru_cell(x_product, h_product, hidden)
            return (new,), (gates, h_product[:, 2 * size :].copy())
        product = x_product if bias is None else x_product + bias
        gates = np.empty_like(product)
        np.add(product[:, : 2 * size], hidden @ weight[:, : 2 * size], out=gates[:, : 2 * size])
        sigmoid(gates[:, : 2 * size], out=gates[:, : 2 * size])
        reset, update, candidate = _parts(gates, size)
        remembered = reset * hidden
        np.tanh(product[:, 2 * size :] + remembered @ weight[:, 2 * size :], out=candidate)
        return (candidate + update * (hidden - candidate),), (gates, remembered)

    def step_gradient(self, kept: Kept, before: States, grads: States, weight: Array) -> StepGradients:
        """Gradients by the products and by the state before, from that by the state after."""
        gates, of_candidate = kept
        (hidden,) = before
        if self.linear_before_reset:
            by_x, by_h, rest = gru_cell_gradient(gates, of_candidate, hidden, grads[0])
            rest += by_h @ weight.T
            return by_x, by_h, (rest,)
        size = hidden.shape[1]
        reset, update, candidate = _parts(gates, size)
        grad = np.empty_like(gates)
        by_candidate = grads[0] * (1 - update) * (1 - candidate * candidate)
        by_remembered = by_candidate @ weight[:, 2 * size :].T
        grad[:, 2 * size :] = by_candidate
        grad[:, :size] = by_remembered * hidden * reset * (1 - reset)
        grad[:, size : 2 * size] = grads[0] * (hidden - candidate) * update * (1 - update)
        rest = grads[0] * update + by_remembered * reset
        rest += grad[:, : 2 * size] @ weight[:, : 2 * size].T
        return grad, None, (rest,)

    def weight_gradient(self, hidden: Array, kept: list[Kept], grad: Array) -> Array:
        """By the recurrent weights, of all steps: ``hidden`` before (T·B, H), ``grad`` by the products (T·B, 3·H)."""
        if self.linear_before_reset:
            return hidden.T @ grad
        size = hidden.shape[1]
        remembered = np.concatenate([each for _, each in kept])
        gates, candidate = hidden.T @ grad[:, : 2 * size], remembered.T @ grad[:, 2 * size :]
        return np.concatenate([gates, candidate], axis=1)
