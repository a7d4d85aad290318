"""Rows picked by number: embeddings, one-hot vectors, gathering along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Tokens = NDArray[np.int64]


def embedding_forward(tokens: Tokens, table: Array) -> Array:
    """Row ``tokens`` of ``table`` (V, D): tokens of any shape to (..., D). Raises ValueError for one outside."""
    _check(tokens, len(table))
    return table[tokens]


def embedding_backward(tokens: Tokens, grad: Array, rows: int, *, padding: int | None = None) -> Array:
    """Gradient by a table of ``rows`` rows: each row's sum of ``grad`` (..., D) over its tokens.

    That of the row ``padding`` is zero. Raises ValueError for a token outside the table.
    """
    _check(tokens, rows)
    return add_rows(tokens.reshape(-1), grad.reshape(-1, grad.shape[-1]), rows, without=padding)


def gather_forward(x: Array, indices: Tokens, axis: int = 0) -> Array:
    """``x`` at ``indices`` of any shape, which replaces ``axis`` (ONNX Gather); negative ones count from the end."""
    return np.take(x, indices, axis=axis)


def gather_backward(grad: Array, indices: Tokens, input_shape: Sequence[int], axis: int = 0) -> Array:
    """Gradient by an array of ``input_shape``."""
    axis %= len(input_shape)
    before, length, behind = input_shape[:axis], input_shape[axis], input_shape[axis + 1 :]
    first = np.moveaxis(grad.reshape(*before, indices.size, *behind), axis, 0)
    total = add_rows(indices.reshape(-1) % length, first.reshape(indices.size, -1), length)
    return np.moveaxis(total.reshape(length, *before, *behind), 0, axis)


def add_rows(places: Tokens, rows: Array, length: int, *, without: int | None = None) -> Array:
    """(length, D): for each place the sum of the ``rows`` (N, D) that go there; ``without`` one place."""
    out = np.zeros((length, rows.shape[-1]), dtype=rows.dtype)
    if not places.size:
        return out
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begin = np.flatnonzero(np.diff(ordered, prepend=-1))
    out[ordered[begin]] = np.add.reduceat(rows[order], begin, axis=0)
    if without is not None:
        out[without] = 0
    return out


def _check(tokens: Tokens, rows: int) -> None:
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < rows):
        raise ValueError(f"tokens from {tokens.min()} to {tokens.max()}, but there are only rows 0 to {rows - 1}")
