"""How good predictions are: edits and overlaps against plain loops, linear baselines against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.datasets.baselines import fit_softmax
from workloads.datasets.metrics import (
    collapsed,
    edit_distance,
    intersection_over_union,
    label_error_rate,
    mean_iou,
)

pytestmark = pytest.mark.numeric


def plain_distance(one: list[int], other: list[int]) -> int:
    if not one or not other:
        return len(one) + len(other)
    same = plain_distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(same, plain_distance(one[1:], other) + 1, plain_distance(one, other[1:]) + 1)


@given(
    pairs=st.lists(
        st.tuples(st.lists(st.integers(1, 3), max_size=5), st.lists(st.integers(1, 3), max_size=4)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=30, deadline=None)
def test_edits_are_the_fewest(pairs: list[tuple[list[int], list[int]]]) -> None:
    found, wanted = (np.zeros((len(pairs), width), dtype=np.int64) for width in (6, 5))
    for row, (one, other) in enumerate(pairs):
        found[row, : len(one)] = one
        wanted[row, : len(other)] = other
    lengths = [np.array([len(pair[side]) for pair in pairs]) for side in (0, 1)]
    edits = edit_distance(found, lengths[0], wanted, lengths[1])
    assert edits.tolist() == [plain_distance(one, other) for one, other in pairs]
    if lengths[1].sum():
        rate = label_error_rate(found, lengths[0], wanted, lengths[1])
        assert rate == pytest.approx(edits.sum() / lengths[1].sum())


@given(
    classes=st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=5), seed=st.integers()
)
@settings(max_examples=30, deadline=None)
def test_repeats_are_merged_and_blanks_dropped(classes: list[list[int]], seed: int) -> None:
    lengths = np.random.default_rng(abs(seed)).integers(0, 8, size=len(classes))
    labels, counts = collapsed(np.array(classes), lengths)
    for row, length in enumerate(lengths):
        kept = [
            each for place, each in enumerate(classes[row][:length]) if not place or each != classes[row][place - 1]
        ]
        expected = [each for each in kept if each]
        assert labels[row, : counts[row]].tolist() == expected
        assert not labels[row, counts[row] :].any()


def test_overlaps_are_shares_of_what_is_found_or_wanted() -> None:
    found = np.array([[[0, 1, 1], [2, 2, 0]]])
    wanted = np.array([[[0, 1, 0], [2, 0, 0]]])
    np.testing.assert_allclose(intersection_over_union(found, wanted, classes=3), [2 / 4, 1 / 2, 1 / 2])
    four = intersection_over_union(found, wanted, classes=4)
    assert np.isnan(four[3])
    assert mean_iou(found, wanted, classes=4) == pytest.approx(0.5)
    assert mean_iou(wanted, wanted, classes=3) == 1.0


def test_softmax_regression_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((20_000, 3))
    true = rng.standard_normal((4, 3))
    scores = features @ true[:-1] + true[-1]
    labels = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    found = fit_softmax(features, labels, classes=3, ridge=1e-6).weights
    centred = true - true.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found - found.mean(axis=1, keepdims=True), centred, atol=0.08)


def test_softmax_regression_stops_where_no_weight_improves_it() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.standard_normal((200, 2)), rng.integers(3, size=200)
    model = fit_softmax(features, labels, classes=3, ridge=0.01)
    powers = np.exp(model.scores(features))
    shares = powers / powers.sum(axis=1, keepdims=True)
    rows = np.concatenate([features, np.ones((200, 1))], axis=1)
    gradient = rows.T @ (shares - np.eye(3)[labels]) / 200 + 0.01 * model.weights
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    np.testing.assert_array_equal(model.classes(features), shares.argmax(axis=1))
