"""CTC against the sum over all alignments; decoding, error rates, and what they refuse."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

from nnlib.ops.ctc import ctc_loss, log_softmax
from nnlib.ops.decoding import edit_distance, greedy_decode, label_error_rate
from nnlib.ops.sequence import Integers, reverse_sequences

pytestmark = pytest.mark.numeric


def collapsed(path: tuple[int, ...], blank: int) -> list[int]:
    return [label for label, _ in groupby(path) if label != blank]


def padded(*rows: list[int]) -> Integers:
    longest = max(len(row) for row in rows)
    return np.array([row + [-1] * (longest - len(row)) for row in rows], dtype=np.int64).reshape(len(rows), longest)


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("target", [[], [1], [1, 1], [1, 2], [1, 2, 1], [2, 2, 2]])
def test_loss_and_gradient_are_a_sum_over_all_alignments(target: list[int], blank: int) -> None:
    labels = [(label + blank) % 3 for label in target]
    steps, classes = 5, 3
    logits = np.random.default_rng(len(target)).standard_normal((1, steps, classes))
    probabilities = np.exp(log_softmax(logits))[0]
    total, counted = 0.0, np.zeros((steps, classes))
    for path in product(range(classes), repeat=steps):
        if collapsed(path, blank) == labels:
            chance = float(np.prod(probabilities[np.arange(steps), path]))
            total += chance
            counted[np.arange(steps), path] += chance
    loss, grad = ctc_loss(logits, padded(labels), blank=blank, reduction="none")
    assert loss[0] == pytest.approx(-np.log(total), rel=1e-12)
    np.testing.assert_allclose(grad[0], probabilities - counted / total, atol=1e-12)


def test_what_lies_past_a_length_counts_for_nothing() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 9, 4))
    targets = padded([1, 2], [3])
    short = ctc_loss(logits[:1, :5], targets[:1], reduction="none")
    loss, grad = ctc_loss(logits, targets, np.array([5, 9]), reduction="none")
    assert loss[0] == pytest.approx(short[0][0], rel=1e-13)
    np.testing.assert_allclose(grad[0, :5], short[1][0], atol=1e-14)
    assert not grad[0, 5:].any()


def test_a_target_too_long_for_its_input_costs_infinity_or_nothing() -> None:
    logits = np.zeros((2, 2, 3))
    targets = padded([1, 1], [1, 2])
    loss, grad = ctc_loss(logits, targets, reduction="none")
    assert loss[0] == np.inf
    assert np.isnan(grad[0]).all()
    assert loss[1] == pytest.approx(2 * np.log(3))
    loss, grad = ctc_loss(logits, targets, reduction="none", zero_infinity=True)
    assert loss[0] == 0
    assert not grad[0].any()
    assert grad[1].any()


def test_single_precision_stays_and_the_memory_order_does_not_matter() -> None:
    logits = np.random.default_rng(0).standard_normal((3, 8, 5)).astype(np.float32)
    targets = padded([1, 2], [3], [4, 4, 1])
    loss, grad = ctc_loss(logits, targets)
    assert loss.dtype == grad.dtype == np.float32
    again = ctc_loss(np.asfortranarray(logits), targets)
    np.testing.assert_allclose(again[1], grad, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "lengths", "said"),
    [
        (np.array([[0, 1]]), None, "blank"),
        (np.array([[3]]), None, "no class"),
        (np.array([[-1, 1]]), None, "before a label"),
        (np.array([1]), None, "expected integers"),
        (np.array([[1]]), np.array([5]), "from 0 to 4"),
        (np.array([[1]]), np.array([1, 2]), "expected integers"),
    ],
)
def test_targets_and_lengths_that_do_not_fit_are_refused(
    targets: Integers, lengths: Integers | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ctc_loss(np.zeros((1, 4, 3)), targets, lengths)


def test_the_best_path_is_collapsed() -> None:
    path = np.array([[0, 1, 1, 0, 1, 2, 2, 0], [2, 2, 2, 2, 0, 0, 1, 1], [0] * 8])
    scores = np.eye(3)[path]
    expected = padded([1, 1, 2], [2, 1], [])
    assert np.array_equal(greedy_decode(scores)[:, :3], expected)
    assert (greedy_decode(scores)[:, 3:] == -1).all()
    assert greedy_decode(scores, np.array([2, 7, 0]))[:, :3].tolist() == [[1, -1, -1], [2, 1, -1], [-1, -1, -1]]


def test_edit_distances() -> None:
    def labels(*words: str) -> Integers:
        return padded(*([ord(letter) for letter in word] for word in words))

    found = labels("kitten", "", "abc", "abc", "saturday", "x")
    expected = labels("sitting", "abc", "", "abc", "sunday", "xyz")
    assert edit_distance(found, expected).tolist() == [3, 3, 3, 0, 3, 2]
    assert edit_distance(expected, found).tolist() == [3, 3, 3, 0, 3, 2]
    assert label_error_rate(found, expected) == pytest.approx(14 / (7 + 3 + 0 + 3 + 6 + 3))
    with pytest.raises(ValueError, match="at least one"):
        label_error_rate(found, np.full((6, 1), -1))


def test_a_sequence_is_reversed_from_its_own_end() -> None:
    x = np.arange(10.0).reshape(2, 5, 1)
    found = reverse_sequences(x, np.array([3, 5]))[..., 0]
    assert found.tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]
