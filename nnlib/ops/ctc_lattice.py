"""The lattice of connectionist temporal classification: all ways to spread a target over the steps of its input.

Positions s = 0 … 2·L are the target's labels with blanks around and between them. Probabilities are logarithms; each
row's largest is taken out and summed apart, so that numbers stay small however long the input is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.sequence import Array, Integers

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Positions:
    """``labels`` (B, S) at the positions; ``skips``: those that may follow the last but one; ``count`` (B,) in use."""

    labels: Integers
    skips: Mask
    count: Integers

    @classmethod
    def of(cls, targets: Integers, blank: int) -> Positions:
        """Of targets (B, L) that -1 fills up at their ends."""
        batch, longest = targets.shape
        labels = np.full((batch, 2 * longest + 1), blank, dtype=np.int64)
        labels[:, 1::2] = np.where(targets < 0, blank, targets)
        skips = np.zeros(labels.shape, dtype=bool)
        skips[:, 3::2] = (labels[:, 3::2] != labels[:, 1:-2:2]) & (targets[:, 1:] >= 0)
        return cls(labels=labels, skips=skips, count=2 * (targets >= 0).sum(axis=1) + 1)

    @property
    def used(self) -> Mask:
        """(B, S): the positions in use."""
        used: Mask = np.arange(self.labels.shape[1]) < self.count[:, None]
        return used

    @property
    def ends(self) -> Mask:
        """(B, S): the last label and the blank behind it."""
        return self.used & (np.arange(self.labels.shape[1]) >= self.count[:, None] - 2)


def start_row(used: Mask, dtype: np.dtype[np.floating]) -> Array:
    """Alpha before the first step (B, S): a path stands in front of the first blank, which it may pass over."""
    row = np.full(used.shape, -np.inf, dtype=dtype)
    row[:, 0] = 0
    return row


def forward_row(row: Array, emission: Array, skips: Mask) -> Array:
    """The next row of alpha: a position is reached from itself, its left neighbour, or past a blank from the next."""
    one, two = _moved(row, 1), _moved(row, 2)
    return log_sum(row, one, np.where(skips, two, -np.inf)) + emission


def backward_row(after: Array, skips: Mask) -> Array:
    """The row of beta before: what follows of ``after``, the row of beta with its own step's emission."""
    two = np.where(skips, after, -np.inf)
    return log_sum(after, _moved(after, -1), _moved(two, -2))


def lowered(row: Array) -> tuple[Array, Array]:
    """The row with its largest number at 0, and that number (..., 1); a row of -inf stays."""
    top = row.max(axis=-1, keepdims=True)
    top = np.where(np.isneginf(top), 0, top).astype(row.dtype)
    return row - top, top


def log_sum(*terms: Array) -> Array:
    """``log Σ exp`` of arrays; -inf where all are."""
    top = terms[0]
    for each in terms[1:]:
        top = np.maximum(top, each)
    top = np.where(np.isneginf(top), np.zeros((), dtype=top.dtype), top)
    total: Array = np.exp(terms[0] - top)
    for each in terms[1:]:
        total += np.exp(each - top)
    with np.errstate(divide="ignore"):
        summed: Array = np.log(total) + top
    return summed


def occupancy_row(alpha: Array, beta: Array) -> Array:
    """The probability of each position at a step; 0 where no path exists."""
    row, _ = lowered(alpha + beta)
    row = np.exp(row)
    total = row.sum(axis=-1, keepdims=True)
    row /= np.where(total > 0, total, np.ones((), dtype=row.dtype))
    return row


def end_log_sum(row: Array, ends: Mask) -> Array:
    """Logarithm (B,) of the paths' probability over the ends of a row."""
    row = np.where(ends, row, -np.inf)
    return log_sum(*np.moveaxis(np.sort(row, axis=1)[:, -2:], 1, 0))


def _moved(row: Array, by: int) -> Array:
    """``row`` moved right (left for a negative number), -inf moving in."""
    moved = np.full_like(row, -np.inf)
    if by > 0:
        moved[..., by:] = row[..., :-by]
    else:
        moved[..., :by] = row[..., -by:]
    return moved
