"""Recurrent layers over sequences (B, T, C), one direction or both, with lengths as PyTorch's packed sequences have.

The input's products for all steps are one matrix product before the loop over time, the weights' gradients one after
it. A step multiplies the whole batch by the recurrent weights (H, gates·H); input weights are (C, gates·H). Past a
sequence's length outputs are 0 and its states stay, so that the last states are those at its own end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from nnlib.ops.sequence import Array, Integers, check_lengths, reverse_sequences, sequence_mask, time_major

States: TypeAlias = tuple[Array, ...]
Kept: TypeAlias = tuple[Array, ...]
StepGradients: TypeAlias = tuple[Array, Array | None, States]
"""Gradients by the input's product, by the last output's product if that is another, and by the states before."""
Merge: TypeAlias = Literal["concatenate", "sum"]


class Cell(Protocol):
    """A step: ``gates`` blocks of H columns in a product, ``states`` arrays (B, H), the output first."""

    @property
    def gates(self) -> int: ...

    @property
    def states(self) -> int: ...

    def step(self, x_product: Array, states: States, weight: Array, bias: Array | None) -> tuple[States, Kept]: ...

    def step_gradient(self, kept: Kept, before: States, grads: States, weight: Array) -> StepGradients: ...

    def weight_gradient(self, hidden: Array, kept: list[Kept], grad: Array) -> Array: ...


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A direction's run: outputs ``y`` (B, T, H), ``final`` states (B, H), and what the gradients need."""

    y: Array
    final: States
    cell: Cell
    weight: Array
    biased: bool
    lengths: Integers | None
    reverse: bool
    before: list[States]
    kept: list[Kept]


@dataclass(frozen=True, eq=False)
class RecurrentGradients:
    """By the input's products (B, T, gates·H), the recurrent weights and bias, and the initial states."""

    x_product: Array
    weight: Array
    bias: Array | None
    initial: States


def input_product(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``x·W + b`` (B, T, gates·H) of all steps in one matrix product."""
    product = x.reshape(-1, x.shape[-1]) @ weight
    if bias is not None:
        product += bias
    return product.reshape(*x.shape[:-1], -1)


def input_product_gradient(x: Array, weight: Array, grad: Array) -> tuple[Array, Array, Array]:
    """Gradients by ``x``, the weights and the bias from that by the products."""
    rows = grad.reshape(-1, grad.shape[-1])
    by_x = (rows @ weight.T).reshape(x.shape)
    return by_x, x.reshape(-1, x.shape[-1]).T @ rows, rows.sum(axis=0)


def recurrent_forward(
    x_product: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    cell: Cell,
    lengths: Integers | None = None,
    reverse: bool = False,
    initial: States | None = None,
) -> Recurrence:
    """Go over the input's products (B, T, gates·H) with recurrent ``weight`` (H, gates·H) and ``bias`` (gates·H,).

    ``reverse``: from each sequence's end to its start. ``initial`` states (B, H) are zeros if not given. Raises
    ValueError for lengths or shapes that do not fit.
    """
    batch, steps, columns = x_product.shape
    size = len(weight)
    if columns != cell.gates * size or weight.shape != (size, columns):
        raise ValueError(
            f"products {x_product.shape} and recurrent weights {weight.shape} do not fit {cell.gates} gates"
        )
    if lengths is not None:
        check_lengths(lengths, batch=batch, steps=steps)
    if initial is None:
        initial = (np.zeros((batch, size), dtype=x_product.dtype),) * cell.states
    products = time_major(reverse_sequences(x_product, lengths) if reverse else x_product)
    inside = None if lengths is None else sequence_mask(lengths, steps).T[:, :, None]
    y = np.empty((steps, batch, size), dtype=x_product.dtype)
    before, kept, states = [], [], initial
    for t in range(steps):
        before.append(states)
        new, of_step = cell.step(products[t], states, weight, bias)
        kept.append(of_step)
        if inside is None:
            states, y[t] = new, new[0]
        else:
            states = tuple(np.where(inside[t], after, old) for after, old in zip(new, states, strict=True))
            y[t] = np.where(inside[t], new[0], 0)
    outputs = y.swapaxes(0, 1)
    return Recurrence(
        y=reverse_sequences(outputs, lengths) if reverse else outputs,
        final=states,
        cell=cell,
        weight=weight,
        biased=bias is not None,
        lengths=lengths,
        reverse=reverse,
        before=before,
        kept=kept,
    )


def recurrent_backward(run: Recurrence, grad_y: Array, grad_final: States | None = None) -> RecurrentGradients:
    """Gradients from those by the outputs (B, T, H) and, if given, by the final states."""
    cell, weight = run.cell, run.weight
    batch, steps, size = grad_y.shape
    by_outputs = time_major(reverse_sequences(grad_y, run.lengths) if run.reverse else grad_y)
    inside = None if run.lengths is None else sequence_mask(run.lengths, steps).T[:, :, None]
    by_x = by_h = np.empty((steps, batch, cell.gates * size), dtype=grad_y.dtype)
    grads = grad_final or (np.zeros((batch, size), dtype=grad_y.dtype),) * cell.states
    for t in reversed(range(steps)):
        after: States = (grads[0] + by_outputs[t], *grads[1:])
        if inside is not None:
            after = tuple(each * inside[t] for each in after)
        by_x[t], by_product, earlier = cell.step_gradient(run.kept[t], run.before[t], after, weight)
        if by_product is not None:
            by_h = np.empty_like(by_x) if by_h is by_x else by_h
            by_h[t] = by_product
        if inside is not None:
            earlier = tuple(new + old * ~inside[t] for new, old in zip(earlier, grads, strict=True))
        grads = earlier
    hidden = _rows([states[0] for states in run.before], size, grad_y.dtype)
    rows = by_h.reshape(-1, by_h.shape[-1])
    by_product = by_x.swapaxes(0, 1)
    return RecurrentGradients(
        x_product=reverse_sequences(by_product, run.lengths) if run.reverse else by_product,
        weight=cell.weight_gradient(hidden, run.kept, rows) if steps else np.zeros_like(weight),
        bias=rows.sum(axis=0) if run.biased else None,
        initial=grads,
    )


def _rows(parts: Sequence[Array], size: int, dtype: np.dtype[np.floating]) -> Array:
    """Arrays (B, H) of all steps under one another."""
    return np.concatenate(parts) if parts else np.empty((0, size), dtype=dtype)


def merge_directions(outputs: Sequence[Array], merge: Merge) -> Array:
    """The outputs of one or two directions side by side, or their sum as in Deep Speech 2 (Amodei et al. 2016)."""
    if len(outputs) == 1:
        return outputs[0]
    return np.concatenate(outputs, axis=-1) if merge == "concatenate" else outputs[0] + outputs[1]


def split_directions(grad: Array, directions: int, merge: Merge) -> list[Array]:
    """The adjoint of :func:`merge_directions`: each direction's gradient."""
    if directions == 1 or merge == "sum":
        return [grad] * directions
    size = grad.shape[-1] // directions
    return [grad[..., first * size : (first + 1) * size] for first in range(directions)]
