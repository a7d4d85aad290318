"""Convolution and linear layers: shapes, what they refuse, how they begin."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.initial import (
    HE_NORMAL,
    HE_UNIFORM,
    LECUN_NORMAL,
    XAVIER_NORMAL,
    XAVIER_UNIFORM,
    ZEROS,
    Initial,
    normal,
)
from nnlib.layers.layer import Layer, ShapeError
from nnlib.layers.linear import Linear

Shape = tuple[int, ...]


@pytest.mark.parametrize(
    ("layer", "shape", "output", "weight", "products"),
    [
        (Conv2d("c", 64, (7, 7), 2, 3), (224, 224, 3), (112, 112, 64), (7, 7, 3, 64), 112 * 112 * 64 * 147),
        (Conv2d("c", 6, (3, 2), (2, 1), (1, 0, 2, 1), dilation=(1, 2), groups=2), (9, 8, 4), (4, 9, 6), (3, 2, 2, 6),
         4 * 9 * 6 * 12),
        (Conv1d("c", 8, 5, 2, (4, 0)), (100, 3), (50, 8), (5, 3, 8), 50 * 8 * 15),
        (ConvTranspose2d("c", 4, (4, 4), 2, 1), (7, 8, 6), (14, 16, 4), (4, 4, 6, 4), 7 * 8 * 6 * 4 * 16),
        (ConvTranspose2d("c", 4, (3, 3), 2, 1, 1, groups=2), (7, 7, 6), (14, 14, 4), (3, 3, 6, 2), 49 * 6 * 2 * 9),
        (ConvTranspose1d("c", 4, 3, 3, 0, 2), (5, 2), (17, 4), (3, 2, 4), 5 * 2 * 4 * 3),
        (Linear("l", 5), (7, 3), (7, 5), (3, 5), 7 * 3 * 5),
        (Linear("l", 5, transposed=True), (3,), (5,), (5, 3), 15),
    ],
    ids=str,
)  # fmt: skip
def test_shapes_by_hand(layer: Layer, shape: Shape, output: Shape, weight: Shape, products: int) -> None:
    assert layer.output_shape((shape,)) == output
    assert layer.parameter_shapes((shape,)) == {"weight": weight, "bias": output[-1:]}
    assert layer.multiply_accumulates((shape,)) == products
    fresh = layer.initialise((shape,), np.random.default_rng(0), np.dtype(np.float32))
    assert {name: (each.shape, each.dtype) for name, each in fresh.items()} == {
        "weight": (weight, np.dtype(np.float32)),
        "bias": (output[-1:], np.dtype(np.float32)),
    }
    assert not fresh["bias"].any()
    assert fresh["weight"].all()


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv2d("c", 6, (3, 3), groups=3), (8, 8, 4), ["'c'", "conv2d", "3 groups", "4 input", "6 output"]),
        (Conv2d("c", 6, (3, 3), dilation=4), (8, 8, 4), ["'c'", "(3, 3)", "dilation 4", "(8, 8, 4)"]),
        (Conv1d("c", 6, 3), (8, 8, 4), ["'c'", "conv1d", "(steps, channels)", "(8, 8, 4)"]),
        (Conv1d("c", 6, 9), (8, 4), ["'c'", "conv1d", "9", "(1, 8, 4)"]),
        (ConvTranspose2d("c", 6, (3, 3), 2, 0, 2), (8, 8, 4), ["'c'", "conv_transpose2d", "output padding of 2"]),
        (ConvTranspose2d("c", 6, (1, 1), 1, 4), (8, 8, 4), ["'c'", "conv_transpose2d", "leaves nothing"]),
        (ConvTranspose2d("c", 6, (1, 1)), (8,), ["'c'", "(height, width, channels)", "(8,)"]),
        (ConvTranspose1d("c", 6, 1, 1, 4), (8, 4), ["'c'", "conv_transpose1d", "leaves nothing"]),
        (ConvTranspose1d("c", 6, 1), (8, 4, 3), ["'c'", "(steps, channels)"]),
        (Linear("l", 3), (), ["'l'", "linear", "(..., features)"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(layer: Layer, shape: Shape, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.output_shape((shape,))
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("initial", "variance", "normal_tails"),
    [
        (HE_NORMAL, 2 / 45, True),
        (HE_UNIFORM, 2 / 45, False),
        (XAVIER_NORMAL, 2 / (45 + 90), True),
        (XAVIER_UNIFORM, 2 / (45 + 90), False),
        (LECUN_NORMAL, 1 / 45, True),
        (normal(0.02), 0.0004, True),
    ],
)
def test_fresh_weights_have_the_variance_of_their_rule(initial: Initial, variance: float, normal_tails: bool) -> None:
    layer = Conv2d("c", 800, (3, 3), groups=80, initial=initial)  # 9 taps of 5 channels into 10
    weight = layer.initialise(((9, 9, 400),), np.random.default_rng(1), np.dtype(np.float64))["weight"]
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert weight.var() == pytest.approx(variance, rel=0.05)
    beyond = float(np.mean(np.abs(weight) > 1.8 * np.sqrt(variance)))
    assert beyond == pytest.approx(0.0719, rel=0.1) if normal_tails else beyond == 0


def test_zeros_begin_at_zero() -> None:
    fresh = Linear("l", 3, initial=ZEROS).initialise(((5,),), np.random.default_rng(0), np.dtype(np.float64))
    assert not fresh["weight"].any()


def test_transposed_weights_are_the_same_numbers() -> None:
    plain, turned = (
        Linear("l", 3, transposed=transposed).initialise(((5,),), np.random.default_rng(2), np.dtype(np.float64))
        for transposed in (False, True)
    )
    np.testing.assert_array_equal(turned["weight"], plain["weight"].T)
