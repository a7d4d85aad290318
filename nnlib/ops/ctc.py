"""Connectionist temporal classification (Graves et al. 2006): the loss over all alignments, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from nnlib.ops.ctc_lattice import (
    Positions,
    backward_row,
    end_log_sum,
    forward_row,
    lowered,
    occupancy_row,
    start_row,
)
from nnlib.ops.sequence import Array, Integers, check_lengths, time_major

Reduction: TypeAlias = Literal["none", "mean", "sum"]


@dataclass(frozen=True, eq=False)
class CtcForward:
    """``losses`` (B,) = -log p(target), inf where no path exists; and what the gradient needs, time first."""

    losses: Array
    log_probs: Array
    emission: Array
    alpha: Array
    positions: Positions
    lengths: Integers


def check_targets(targets: Integers, *, classes: int, blank: int) -> None:
    """Raise ValueError unless targets (B, L) are labels other than ``blank``, with -1 only at the ends."""
    if targets.ndim != 2 or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets are {targets.dtype}{targets.shape}, expected integers (batch, labels)")
    if not 0 <= blank < classes:
        raise ValueError(f"blank is {blank}, expected a class from 0 to {classes - 1}")
    if np.any((targets < -1) | (targets >= classes) | (targets == blank)):
        raise ValueError(f"targets hold a label that is no class from 0 to {classes - 1} or is the blank, {blank}")
    if np.any((targets[:, :-1] < 0) & (targets[:, 1:] >= 0)):
        raise ValueError("targets hold -1 before a label; it may only fill up their ends")


def log_softmax(logits: Array) -> Array:
    """Logarithms of the classes' probabilities along the last axis."""
    shifted: Array = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def ctc_forward(log_probs: Array, targets: Integers, lengths: Integers | None = None, *, blank: int = 0) -> CtcForward:
    """Of ``log_probs`` (B, T, V) of inputs of ``lengths`` (B,) steps and targets (B, L), filled up by -1.

    Raises ValueError for targets or lengths that do not fit.
    """
    batch, steps, classes = log_probs.shape
    check_targets(targets, classes=classes, blank=blank)
    lengths = np.full(batch, steps) if lengths is None else lengths
    check_lengths(lengths, batch=batch, steps=steps)
    positions = Positions.of(targets, blank)
    rows = time_major(log_probs)
    emission = np.take_along_axis(rows, positions.labels[None], axis=2)
    np.copyto(emission, -np.inf, where=~positions.used)
    alpha = np.empty_like(emission)
    row = start_row(positions.used, rows.dtype)
    taken_out = np.zeros(batch, dtype=np.float64)
    for t in range(steps):
        new, top = lowered(forward_row(row, emission[t], positions.skips))
        inside = (t < lengths)[:, None]
        row = np.where(inside, new, row)
        taken_out += np.where(inside, top, 0)[:, 0]
        alpha[t] = row
    losses = -(taken_out + end_log_sum(row, positions.ends).astype(np.float64))
    return CtcForward(
        losses=losses.astype(log_probs.dtype),
        log_probs=rows,
        emission=emission,
        alpha=alpha,
        positions=positions,
        lengths=lengths,
    )


def ctc_occupancy(run: CtcForward) -> Array:
    """The probability (T, B, S) that a path to the target is at a position; 0 past a length and without a path."""
    steps = len(run.alpha)
    end = np.where(run.positions.ends, np.zeros((), dtype=run.alpha.dtype), -np.inf).astype(run.alpha.dtype)
    beta = end
    occupancy = np.zeros_like(run.alpha)
    for t in reversed(range(steps)):
        if t + 1 < steps:
            before, _ = lowered(backward_row(beta + run.emission[t + 1], run.positions.skips))
            beta = np.where((t + 1 < run.lengths)[:, None], before, end)
        inside = (t < run.lengths)[:, None]
        occupancy[t] = np.where(inside, occupancy_row(run.alpha[t], beta), 0)
    return occupancy


def ctc_gradient(run: CtcForward) -> Array:
    """Gradient (B, T, V) of each sample's loss by its logits: the classes' probabilities less their occupancies.

    0 past a sample's length, NaN where its loss is inf.
    """
    steps, batch, classes = run.log_probs.shape
    inside = np.arange(steps)[:, None] < run.lengths
    grad = np.exp(run.log_probs) * inside[:, :, None]
    rows = np.arange(steps * batch).reshape(steps, batch, 1) * classes
    places = (rows + run.positions.labels).ravel()
    counted = np.bincount(places, weights=ctc_occupancy(run).ravel(), minlength=grad.size)
    grad -= counted.reshape(grad.shape).astype(grad.dtype)
    grad[inside & np.isinf(run.losses)] = np.nan
    return grad.swapaxes(0, 1)


def ctc_loss(
    logits: Array,
    targets: Integers,
    lengths: Integers | None = None,
    *,
    blank: int = 0,
    zero_infinity: bool = False,
    reduction: Reduction = "mean",
) -> tuple[Array, Array]:
    """The loss of ``logits`` (B, T, V) and its gradient by them.

    ``reduction`` as PyTorch's: ``mean`` divides each sample's loss by its number of labels (at least 1) before the mean
    over the batch, ``none`` gives losses (B,) and the gradient of their sum. A target too long for its input costs inf,
    with a gradient of NaN, or both 0 with ``zero_infinity``. Raises ValueError for targets or lengths that do not fit.
    """
    run = ctc_forward(log_softmax(logits), targets, lengths, blank=blank)
    losses, grad = run.losses, ctc_gradient(run)
    if zero_infinity:
        possible = np.isfinite(losses)
        losses = np.where(possible, losses, 0)
        grad = np.where(possible[:, None, None], grad, 0)
    if reduction == "none":
        return losses, grad
    if reduction == "sum":
        return losses.sum(), grad
    weights = (1 / (np.maximum((targets >= 0).sum(axis=1), 1) * len(logits))).astype(logits.dtype)
    return (losses * weights).sum(), grad * weights[:, None, None]
