"""Softmax cross-entropy: by hand, in repeated batches, and with logits that would overflow."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.loss import softmax_cross_entropy


def test_two_classes_by_hand() -> None:
    loss, grad = softmax_cross_entropy(np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 0]))
    assert loss == pytest.approx((log(1 + exp(-1)) + log(1 + exp(3))) / 2, rel=1e-15)
    share = 1 / (1 + exp(-1)), 1 / (1 + exp(3))
    expected = [[(share[0] - 1) / 2, (1 - share[0]) / 2], [(share[1] - 1) / 2, (1 - share[1]) / 2]]
    np.testing.assert_allclose(grad, expected, rtol=1e-14)


@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=9), classes=st.integers(1, 12), seed=st.integers(0, 1000)
)
def test_multiplicities_are_the_repeated_batch(counts: list[int], classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((len(counts), classes))
    labels = rng.integers(0, classes, len(counts))
    loss, grad = softmax_cross_entropy(logits, labels, np.array(counts, dtype=float))
    all_loss, all_grad = softmax_cross_entropy(np.repeat(logits, counts, axis=0), np.repeat(labels, counts))
    assert loss == pytest.approx(all_loss, rel=1e-13, abs=1e-15)
    added = np.add.reduceat(all_grad, np.cumsum([0, *counts[:-1]]), axis=0)
    # a gradient is a share less 1: what rounds is a number near 1, however small the difference
    np.testing.assert_allclose(grad, added, rtol=1e-13, atol=4 * np.finfo(float).eps)


@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(split=st.integers(1, 6), seed=st.integers(0, 1000))
def test_parts_of_a_batch_add_up_to_the_batch(split: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((7, 4)), rng.integers(0, 4, 7)
    weights = rng.integers(1, 4, 7).astype(float)
    loss, grad = softmax_cross_entropy(logits, labels, weights)
    parts = [
        softmax_cross_entropy(logits[part], labels[part], weights[part], total=float(weights.sum()))
        for part in (slice(None, split), slice(split, None))
    ]
    assert loss == pytest.approx(sum(part for part, _ in parts), rel=1e-14)
    np.testing.assert_allclose(grad, np.concatenate([part for _, part in parts]), rtol=1e-14)


@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(shift=st.sampled_from([-1e4, -1.0, 0.0, 1.0, 1e4]), seed=st.integers(0, 1000))
def test_a_shift_of_all_logits_changes_nothing(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # eighths keep the shifted logits exact
    logits, labels = np.round(8 * rng.standard_normal((3, 5))) / 8, rng.integers(0, 5, 3)
    loss, grad = softmax_cross_entropy(logits, labels)
    shifted_loss, shifted_grad = softmax_cross_entropy(logits + shift, labels)
    assert shifted_loss == loss
    np.testing.assert_array_equal(shifted_grad, grad)
    # five terms of at most 1/3, each rounded
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=5 * np.finfo(float).eps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_large_logits_do_not_overflow(dtype: type[np.floating]) -> None:
    logits = np.array([[1e4, 0.0, -1e4], [-3e38, 0.0, 1e30]], dtype=dtype)
    loss, grad = softmax_cross_entropy(logits, np.array([1, 2]))
    assert loss == pytest.approx(1e4 / 2)
    np.testing.assert_array_equal(grad, np.array([[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]], dtype=dtype))
    assert grad.dtype == dtype


@pytest.mark.numeric
def test_the_gradient_is_the_slope() -> None:
    rng = np.random.default_rng(3)
    logits, labels, weights = rng.standard_normal((4, 6)), rng.integers(0, 6, 4), np.array([1.0, 3.0, 2.0, 1.0])
    _, grad = softmax_cross_entropy(logits, labels, weights)
    step = 1e-6
    for index in np.ndindex(logits.shape):
        moved = [logits.copy(), logits.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        up, down = (softmax_cross_entropy(each, labels, weights)[0] for each in moved)
        assert grad[index] == pytest.approx((up - down) / (2 * step), abs=1e-9)


def test_the_logits_are_left_as_they_were() -> None:
    logits = np.array([[1.0, 2.0]])
    softmax_cross_entropy(logits, np.array([0]))
    np.testing.assert_array_equal(logits, [[1.0, 2.0]])
