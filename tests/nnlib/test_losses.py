"""Losses besides plain cross-entropy: by hand, in parts of a batch, and with numbers that would overflow."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnlib.ops.binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_with_logits
from nnlib.ops.dice import binary_dice, dice, dice_with_logits
from nnlib.ops.gaussian_kl import gaussian_kl
from nnlib.ops.loss import softmax_cross_entropy
from nnlib.ops.regression_loss import mean_absolute_error, mean_squared_error, smooth_l1
from nnlib.ops.shares import Array

Loss = Callable[..., tuple[float, Array]]
RNG = np.random.default_rng(5)
SHAPE = (6, 5, 4)
NUMBERS: dict[str, tuple[Loss, Array, NDArray[Any]]] = {
    "mse": (mean_squared_error, RNG.standard_normal(SHAPE), RNG.standard_normal(SHAPE)),
    "l1": (mean_absolute_error, RNG.standard_normal(SHAPE), RNG.standard_normal(SHAPE)),
    "smooth l1": (smooth_l1, RNG.standard_normal(SHAPE), RNG.standard_normal(SHAPE)),
    "bce logits": (binary_cross_entropy_with_logits, RNG.standard_normal(SHAPE), RNG.uniform(-0.3, 1, SHAPE)),
    "bce": (binary_cross_entropy, RNG.uniform(0.1, 0.9, SHAPE), RNG.uniform(-0.3, 1, SHAPE)),
    "dice": (dice, RNG.uniform(0, 1, SHAPE), RNG.integers(-1, 4, SHAPE[:-1])),
    "dice logits": (dice_with_logits, RNG.standard_normal(SHAPE), RNG.integers(-1, 4, SHAPE[:-1])),
    "binary dice": (binary_dice, RNG.uniform(0, 1, SHAPE), RNG.uniform(-0.3, 1, SHAPE)),
    "cross-entropy": (
        lambda logits, labels, shares, **options: softmax_cross_entropy(logits, labels, shares, total=1.0, **options),
        RNG.standard_normal(SHAPE),
        RNG.integers(-1, 4, SHAPE[:-1]),
    ),
}


@pytest.mark.numeric
@pytest.mark.parametrize("name", NUMBERS)
def test_the_gradient_is_the_slope(name: str) -> None:
    loss, x, target = NUMBERS[name]
    shares = np.linspace(0.05, 0.3, len(x))
    _, grad = loss(x, target, shares)
    for index in [(0, 0, 0), (1, 4, 3), (3, 2, 1), (5, 4, 0)]:
        moved = [x.copy(), x.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        slope = (loss(moved[0], target, shares)[0] - loss(moved[1], target, shares)[0]) / 2e-6
        assert grad[index] == pytest.approx(slope, abs=1e-8)


@pytest.mark.numeric
@pytest.mark.parametrize("name", NUMBERS)
def test_parts_of_a_batch_add_up(name: str) -> None:
    loss, x, target = NUMBERS[name]
    shares = np.full(len(x), 1 / len(x))
    whole, grad = loss(x, target, shares)
    parts = [loss(x[part], target[part], shares[part]) for part in (slice(None, 2), slice(2, 3), slice(3, None))]
    assert whole == pytest.approx(sum(part for part, _ in parts), rel=1e-14)
    np.testing.assert_allclose(grad, np.concatenate([part for _, part in parts]), rtol=1e-13, atol=1e-17)
    if name != "cross-entropy":
        assert loss(x, target, None)[0] == pytest.approx(whole, rel=1e-14)


@pytest.mark.parametrize("name", ["bce logits", "dice", "binary dice", "cross-entropy"])
def test_what_is_left_out_counts_nothing(name: str) -> None:
    loss, x, target = NUMBERS[name]
    shares = np.full(len(x), 1 / len(x))
    nothing = target.copy()
    nothing[2] = -1
    value, grad = loss(x, nothing, shares)
    assert np.isfinite(value)
    assert not grad[2].any()
    assert not grad[nothing < 0].any()
    other = x.copy()
    other[nothing < 0] = 0.123
    assert loss(other, nothing, shares)[0] == value
    if not name.endswith("dice") and name != "dice":
        assert value == pytest.approx(loss(np.delete(x, 2, 0), np.delete(target, 2, 0), np.delete(shares, 2))[0])


def test_by_hand() -> None:
    prediction, target = np.array([[1.0, 2.0], [0.0, -2.0]]), np.array([[0.0, 2.5], [0.0, 1.0]])
    assert mean_squared_error(prediction, target)[0] == pytest.approx((1 + 0.25 + 9) / 4)
    assert mean_absolute_error(prediction, target)[0] == pytest.approx(4.5 / 4)
    value, grad = smooth_l1(prediction, target)
    assert value == pytest.approx((0.5 + 0.125 + 2.5) / 4)
    np.testing.assert_allclose(grad, [[0.25, -0.125], [0, -0.25]])
    value, grad = binary_cross_entropy(np.array([[0.25, 0.5]]), np.array([[1.0, 0.0]]))
    assert value == pytest.approx((log(4) + log(2)) / 2)
    np.testing.assert_allclose(grad, [[-2, 1]])
    value, (by_mean, by_log_variance) = gaussian_kl(np.array([[1.0, 2.0]]), np.array([[0.0, log(2)]]))
    assert value == pytest.approx((1 + 4 + 1 - log(2)) / 2)
    np.testing.assert_allclose(by_mean, [[1, 2]])
    np.testing.assert_allclose(by_log_variance, [[0, 0.5]])


def test_dice_of_a_right_and_a_wrong_mask() -> None:
    right = np.array([[1.0, 0.0, 1.0]])
    assert binary_dice(right, right)[0] == 0
    assert binary_dice(1 - right, right, smooth=0.0)[0] == 1
    assert binary_dice(np.full((1, 4), 0.5), np.array([[1.0, 1.0, 0.0, -1.0]]), smooth=0.0)[0] == pytest.approx(3 / 7)
    squared = binary_dice(np.full((1, 4), 0.5), np.array([[1.0, 1.0, 0.0, -1.0]]), smooth=0.0, squared=True)[0]
    assert squared == pytest.approx(1 - 2 / 2.75)


def test_smoothing_and_class_weights_by_hand() -> None:
    logits = np.log([[0.5, 0.25, 0.25]])
    weights = np.array([1.0, 2.0, 4.0])
    value, grad = softmax_cross_entropy(logits, np.array([1]), class_weights=weights, smoothing=0.3)
    expected = 0.7 * 2 * log(4) + 0.1 * (log(2) + 2 * log(4) + 4 * log(4))
    assert value == pytest.approx(expected, rel=1e-14)
    q = np.array([0.1, 1.4 + 0.2, 0.4])
    np.testing.assert_allclose(grad, [np.array([0.5, 0.25, 0.25]) * q.sum() - q], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_and_certain_probabilities(dtype: type[np.floating]) -> None:
    logits, target = np.array([[-1e4, 1e4, 3e38]], dtype=dtype), np.array([[1.0, 0.0, 1.0]], dtype=dtype)
    value, grad = binary_cross_entropy_with_logits(logits, target)
    assert value == pytest.approx(2e4 / 3)
    np.testing.assert_allclose(grad, np.array([[-1, 1, 0]]) / 3, rtol=1e-6)
    value, grad = binary_cross_entropy(np.array([[0.0, 1.0, 1.0]], dtype=dtype), target)
    assert value == pytest.approx(200 / 3)
    assert np.isfinite(grad).all()
    assert grad.dtype == dtype
