"""Sequences (B, T, C) of different lengths in one array: which steps are inside, and each from its own end."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.integer]


def check_lengths(lengths: Integers, *, batch: int, steps: int) -> None:
    """Raise ValueError unless ``lengths`` is (batch,) integers from 0 to ``steps``."""
    if lengths.shape != (batch,) or not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(f"lengths are {lengths.dtype}{lengths.shape}, expected integers ({batch},)")
    wrong = lengths[(lengths < 0) | (lengths > steps)]
    if wrong.size:
        raise ValueError(f"lengths must be from 0 to {steps}, the steps of the array; got {wrong[0]}")


def sequence_mask(lengths: Integers, steps: int) -> NDArray[np.bool_]:
    """(B, T): True at the steps that lie inside their sequence."""
    inside: NDArray[np.bool_] = np.arange(steps) < lengths[:, None]
    return inside


def reverse_sequences(x: Array, lengths: Integers | None) -> Array:
    """Each sequence of ``x`` (B, T, ...) from its own end to its start; what lies past its length stays in place.

    Without ``lengths`` a view.
    """
    if lengths is None:
        return x[:, ::-1]
    steps = np.arange(x.shape[1])
    places = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return x[np.arange(len(x))[:, None], places]


def time_major(x: Array) -> Array:
    """(B, T, ...) as contiguous (T, B, ...); no copy if it lies so already."""
    return np.ascontiguousarray(x.swapaxes(0, 1))


def last_step(x: Array, lengths: Integers | None) -> Array:
    """(B, T, C) to (B, C): the step at each sequence's length, the first where that is 0."""
    found: Array = x[np.arange(len(x)), _last(x.shape[1], lengths)]
    return found


def last_step_gradient(grad: Array, steps: int, lengths: Integers | None) -> Array:
    """The adjoint of :func:`last_step`: (B, C) to (B, T, C)."""
    found = np.zeros((len(grad), steps, grad.shape[1]), dtype=grad.dtype)
    found[np.arange(len(grad)), _last(steps, lengths)] = grad
    return found


def _last(steps: int, lengths: Integers | None) -> Integers | int:
    return steps - 1 if lengths is None else np.maximum(lengths, 1) - 1


def strided_lengths(lengths: Array, *, kernel: int, stride: int, padding: int) -> Array:
    """Places of a window of ``kernel`` steps along each length, none where that is too short."""
    found: Array = np.maximum((lengths + (2 * padding - kernel)) // stride + 1, 0)
    return found
