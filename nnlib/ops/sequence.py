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
