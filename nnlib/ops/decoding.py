"""What a sequence model has recognised: the labels of the best path, and how far they are from the right ones."""

from __future__ import annotations

import numpy as np

from nnlib.ops.sequence import Array, Integers, check_lengths, sequence_mask


def greedy_decode(scores: Array, lengths: Integers | None = None, *, blank: int = 0) -> Integers:
    """Labels (B, T) of the likeliest path through ``scores`` (B, T, V), collapsed, with -1 behind them."""
    return collapse(scores.argmax(axis=2), lengths, blank=blank)


def collapse(path: Integers, lengths: Integers | None = None, *, blank: int = 0) -> Integers:
    """What a path of classes (B, T) says: labels (B, T) with -1 behind them.

    Equal labels in a row count once, then blanks go (Graves et al. 2006).
    """
    batch, steps = path.shape
    kept = path != blank
    kept[:, 1:] &= path[:, 1:] != path[:, :-1]
    if lengths is not None:
        check_lengths(lengths, batch=batch, steps=steps)
        kept &= sequence_mask(lengths, steps)
    labels = np.full((batch, steps), -1, dtype=np.int64)
    samples, _ = np.nonzero(kept)
    labels[samples, (kept.cumsum(axis=1) - 1)[kept]] = path[kept]
    return labels


def edit_distance(found: Integers, expected: Integers) -> Integers:
    """Insertions, deletions and substitutions (B,) between labels (B, M) and (B, N), each filled up by -1.

    Levenshtein's recurrence, over all samples at once and along a row by its running minimum.
    """
    batch, columns = expected.shape
    places = np.arange(columns + 1)
    rows = np.tile(places, (batch, 1))
    found_lengths, expected_lengths = (found >= 0).sum(axis=1), (expected >= 0).sum(axis=1)
    result: Integers = rows[np.arange(batch), expected_lengths]
    for number in range(found.shape[1]):
        label = found[:, number, None]
        new = np.empty_like(rows)
        new[:, 0] = number + 1
        new[:, 1:] = np.minimum(rows[:, 1:] + 1, rows[:, :-1] + (expected != label))
        # an insertion costs 1 per place: the running minimum of what is left after taking the place out
        rows = np.minimum.accumulate(new - places, axis=1) + places
        ended = found_lengths == number + 1
        result[ended] = rows[ended, expected_lengths[ended]]
    return result


def label_error_rate(found: Integers, expected: Integers) -> float:
    """Edit distance of all samples over their expected labels: the word or character error rate.

    Raises ValueError if no label is expected.
    """
    labels = int((expected >= 0).sum())
    if labels == 0:
        raise ValueError("an error rate needs at least one expected label")
    return float(edit_distance(found, expected).sum()) / labels
