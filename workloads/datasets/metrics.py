"""How good predictions are: labels edited, pixels overlapping."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.ops import decoding
from nnlib.ops.sequence import sequence_mask
from workloads.datasets.counter import Floats, Integers


def edit_distance(found: Integers, found_lengths: Integers, wanted: Integers, wanted_lengths: Integers) -> Integers:
    """The fewest labels to insert, delete or replace that make each found sequence the wanted one (n,).

    Sequences are (n, longest) with their lengths (n,); what lies behind a sequence's end does not count.
    """
    edits = decoding.edit_distance(_ended(found, found_lengths), _ended(wanted, wanted_lengths))
    return edits.astype(np.int64, copy=False)


def label_error_rate(found: Integers, found_lengths: Integers, wanted: Integers, wanted_lengths: Integers) -> float:
    """All edits (as ``edit_distance`` has them) as a share of all wanted labels. It can exceed 1."""
    edits = edit_distance(found, found_lengths, wanted, wanted_lengths)
    return float(edits.sum() / wanted_lengths.sum())


def collapsed(classes: Integers, lengths: Integers, *, blank: int = 0) -> tuple[Integers, Integers]:
    """What frame-wise classes (n, time) say when repeats are merged and blanks dropped: labels (n, time), counts (n,).

    The greedy decoding of connectionist temporal classification (Graves et al., ICML 2006). Labels are followed by
    blanks; frames from ``lengths`` (n,) on do not count.
    """
    labels = decoding.collapse(classes, lengths, blank=blank)
    return np.where(labels < 0, blank, labels), (labels >= 0).sum(axis=1)


def _ended(labels: Integers, lengths: Integers) -> Integers:
    """The labels with -1 from each sequence's end on."""
    return np.where(sequence_mask(lengths, labels.shape[1]), labels, -1)


def confusion(found: Integers, wanted: Integers, *, classes: int) -> Integers:
    """How often each class (columns) was found where each (rows) was wanted; negative ones are wanted nowhere."""
    counted = wanted >= 0
    pairs = wanted[counted] * classes + found[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(found: Integers, wanted: Integers, *, classes: int) -> Floats:
    """For each class the pixels found and wanted as a share of those found or wanted (classes,), all images together.

    NaN for a class that is neither found nor wanted anywhere.
    """
    return overlaps(confusion(found, wanted, classes=classes))


def overlaps(pairs: npt.NDArray[np.number[Any]]) -> Floats:
    """The same from how often each class (columns) was found where each (rows) was wanted."""
    both = np.diag(pairs).astype(np.float64)
    either = pairs.sum(axis=0) + pairs.sum(axis=1) - both
    result: npt.NDArray[np.float64] = np.full(len(pairs), np.nan)
    np.divide(both, either, out=result, where=either > 0)
    return result


def mean_iou(found: Integers, wanted: Integers, *, classes: int) -> float:
    """The mean of ``intersection_over_union`` over the classes that occur."""
    return float(np.nanmean(intersection_over_union(found, wanted, classes=classes)))
