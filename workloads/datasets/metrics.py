"""How good predictions are: labels edited, pixels overlapping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workloads.datasets.counter import Floats, Integers


def edit_distance(found: Integers, found_lengths: Integers, wanted: Integers, wanted_lengths: Integers) -> Integers:
    """The fewest labels to insert, delete or replace that make each found sequence the wanted one (n,).

    Sequences are (n, longest) with their lengths (n,); what lies behind a sequence's end does not count. The distance
    is Levenshtein's, row by row for all sequences at once.
    """
    count, columns = wanted.shape
    row = np.broadcast_to(np.arange(columns + 1), (count, columns + 1)).copy()
    ends = np.where(found_lengths == 0, row[np.arange(count), wanted_lengths], 0)
    for step in range(found.shape[1]):
        above = row
        row = np.empty_like(above)
        row[:, 0] = step + 1
        replaced = above[:, :-1] + (found[:, step, np.newaxis] != wanted)
        best = np.minimum(replaced, above[:, 1:] + 1)
        for column in range(columns):
            row[:, column + 1] = np.minimum(best[:, column], row[:, column] + 1)
        ends = np.where(found_lengths == step + 1, row[np.arange(count), wanted_lengths], ends)
    return ends


def label_error_rate(found: Integers, found_lengths: Integers, wanted: Integers, wanted_lengths: Integers) -> float:
    """All edits (as ``edit_distance`` has them) as a share of all wanted labels. It can exceed 1."""
    edits = edit_distance(found, found_lengths, wanted, wanted_lengths)
    return float(edits.sum() / wanted_lengths.sum())


def collapsed(classes: Integers, lengths: Integers, *, blank: int = 0) -> tuple[Integers, Integers]:
    """What frame-wise classes (n, time) say when repeats are merged and blanks dropped: labels (n, time), counts (n,).

    The greedy decoding of connectionist temporal classification (Graves et al., ICML 2006). Labels are followed by
    blanks; frames from ``lengths`` (n,) on do not count.
    """
    new = np.ones(classes.shape, dtype=bool)
    new[:, 1:] = classes[:, 1:] != classes[:, :-1]
    kept = new & (classes != blank) & (np.arange(classes.shape[1]) < lengths[:, np.newaxis])
    order = np.argsort(~kept, axis=1, kind="stable")
    counts = kept.sum(axis=1)
    labels = np.take_along_axis(np.where(kept, classes, blank), order, axis=1)
    return labels, counts


def confusion(found: Integers, wanted: Integers, *, classes: int) -> Integers:
    """How often each class (columns) was found where each (rows) was wanted; negative ones are wanted nowhere."""
    counted = wanted >= 0
    pairs = wanted[counted] * classes + found[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(found: Integers, wanted: Integers, *, classes: int) -> Floats:
    """For each class the pixels found and wanted as a share of those found or wanted (classes,), all images together.

    NaN for a class that is neither found nor wanted anywhere.
    """
    pairs = confusion(found, wanted, classes=classes)
    both = np.diag(pairs).astype(np.float64)
    either = pairs.sum(axis=0) + pairs.sum(axis=1) - both
    result: npt.NDArray[np.float64] = np.full(classes, np.nan)
    np.divide(both, either, out=result, where=either > 0)
    return result


def mean_iou(found: Integers, wanted: Integers, *, classes: int) -> float:
    """The mean of ``intersection_over_union`` over the classes that occur."""
    return float(np.nanmean(intersection_over_union(found, wanted, classes=classes)))
