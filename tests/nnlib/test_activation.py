"""Activations: slopes, numbers of any size, arrays of any order, and the error function."""

from __future__ import annotations

from math import erf as exact_erf
from math import erfc as exact_erfc
from math import tanh

import numpy as np
import pytest

from nnlib.ops.activation import ACTIVATIONS, ActivationName
from nnlib.ops.erf import erf, erfc
from nnlib.ops.in_blocks import BLOCK_BYTES, Array, in_blocks
from nnlib.ops.rectifiers import clipped_relu_forward, prelu_backward, prelu_forward
from nnlib.ops.softmax import log_softmax_forward, softmax_backward, softmax_forward

POINTS = np.array([-700.0, -30.0, -5.9, -3.3, -1.1, -0.2, 0.3, 1.7, 2.9, 3.4, 5.5, 6.7, 19.0, 31.0, 700.0])
LIMITED: dict[ActivationName, slice] = {"exp": slice(1, -1), "log": slice(6, None), "sqrt": slice(6, None)}


def points(name: ActivationName) -> Array:
    return POINTS[LIMITED.get(name, slice(None))]


@pytest.mark.numeric
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_is_the_slope(name: ActivationName) -> None:
    activation, x = ACTIVATIONS[name], points(name)
    step = 1e-6 * np.maximum(np.abs(x), 1)
    slope = (activation.forward(x + step) - activation.forward(x - step)) / (2 * step)
    y = activation.forward(x)
    found = activation.backward(y if activation.saves == "output" else x, np.full_like(x, 2.0))
    np.testing.assert_allclose(found, 2 * slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name", ["gelu", "gelu_tanh", "silu", "softplus", "sigmoid", "tanh", "elu", "selu", "hard_swish"]
)
def test_huge_numbers_stay_numbers(name: ActivationName, dtype: type[np.floating]) -> None:
    activation = ACTIVATIONS[name]
    x = np.array([-1e37, -1e9, -200.0, 0.0, 200.0, 1e9, 1e37], dtype=dtype)
    y = activation.forward(x)
    grad = activation.backward(y if activation.saves == "output" else x, np.ones_like(x))
    bounded = name in ("sigmoid", "tanh")
    below = {"tanh": -1, "elu": -1, "selu": -1.7580993408473766}.get(name, 0)
    np.testing.assert_allclose(y[:3], below, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(
        y[4:], 1 if bounded else x[4:] * (1.0507009873554805 if name == "selu" else 1), rtol=1e-6
    )
    np.testing.assert_allclose(grad[:3], 0, atol=1e-6)
    np.testing.assert_allclose(grad[4:], 0 if bounded else (1.0507009873554805 if name == "selu" else 1), rtol=1e-6)
    assert y.dtype == grad.dtype == np.dtype(dtype)


def test_by_hand() -> None:
    x = np.array([-4.0, -1.0, 0.0, 2.0, 25.0])
    expected: dict[ActivationName, list[float]] = {
        "leaky_relu": [-0.04, -0.01, 0, 2, 25],
        "relu6": [0, 0, 0, 2, 6],
        "clipped_relu": [0, 0, 0, 2, 20],
        "hard_sigmoid": [0, 1 / 3, 0.5, 5 / 6, 1],
        "hard_swish": [0, -1 / 3, 0, 5 / 3, 25],
        "absolute": [4, 1, 0, 2, 25],
        "tanh": [tanh(number) for number in x],
    }
    for each, values in expected.items():
        np.testing.assert_allclose(ACTIVATIONS[each].forward(x), values, rtol=1e-15, err_msg=each)
    assert clipped_relu_forward(x, ceiling=1.5).tolist() == [0, 0, 0, 1.5, 1.5]
    corners: dict[ActivationName, float] = {"relu": 0.0, "leaky_relu": 0.01, "relu6": 0.0, "absolute": 0.0}
    for name, slope in corners.items():
        assert ACTIVATIONS[name].backward(np.zeros(1), np.ones(1)) == [slope], name


def test_prelu_has_a_slope_for_each_channel() -> None:
    x, slope = np.array([[-1.0, -2.0], [3.0, -4.0]]), np.array([0.5, -1.0])
    assert prelu_forward(x, slope).tolist() == [[-0.5, 2], [3, 4]]
    grad_x, grad_slope = prelu_backward(x, slope, np.array([[1.0, 10.0], [100.0, 1000.0]]))
    assert grad_x.tolist() == [[0.5, -10], [100, -1000]]
    assert grad_slope.tolist() == [-1, -4020]
    _, of_all = prelu_backward(x, slope[:1], np.array([[1.0, 10.0], [100.0, 1000.0]]))
    assert of_all.tolist() == [-4021]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_order_of_memory(name: ActivationName) -> None:
    rng = np.random.default_rng(1)
    activation = ACTIVATIONS[name]
    whole = rng.uniform(0.1, 8, (6, 70, 50)) * (1 if name in ("log", "sqrt") else rng.choice([-1, 1], (6, 70, 50)))
    grad = rng.standard_normal(whole.shape)
    assert whole.nbytes > BLOCK_BYTES
    expected = activation.forward(whole)
    saved = expected if activation.saves == "output" else whole
    slopes = activation.backward(saved, grad)
    views = [whole.transpose(2, 0, 1), whole[::-1], whole[:, ::2], np.asfortranarray(whole)]
    wanted = [expected.transpose(2, 0, 1), expected[::-1], expected[:, ::2], expected]
    for view, y in zip(views, wanted, strict=True):
        np.testing.assert_allclose(activation.forward(view), y, rtol=1e-14)
    turned = activation.backward(np.asfortranarray(saved), grad)
    np.testing.assert_allclose(turned, slopes, rtol=1e-14)
    # dense arrays keep their order
    assert activation.forward(views[0]).strides == views[0].strides
    copy = whole.copy()
    assert activation.forward(copy, out=copy) is copy
    np.testing.assert_array_equal(copy, expected)


def test_blocks_cover_all_and_only_alike_arrays() -> None:
    block = BLOCK_BYTES // 8
    x = np.arange(2 * block + 3, dtype=float)
    seen = []

    def add(a: Array, b: Array) -> Array:
        seen.append(len(a))
        return np.add(a, b)

    np.testing.assert_array_equal(in_blocks(add, x, x), 2 * x)
    assert seen == [block, block, 3]
    seen.clear()
    np.testing.assert_array_equal(in_blocks(add, x, np.repeat(x, 2)[::2]), 2 * x)
    assert seen == [len(x)]


@pytest.mark.numeric
def test_error_functions_everywhere() -> None:
    x = np.concatenate(
        [np.linspace(-26, 26, 4001), np.logspace(-300, 1, 400), [0.46875, 4.0, -4.0, 1e300, -1e300, 0.0]]
    )
    expected = np.array([exact_erf(each) for each in x])
    np.testing.assert_allclose(erf(x), expected, rtol=1e-15, atol=0)
    np.testing.assert_allclose(erfc(x), [exact_erfc(each) for each in x], rtol=1e-12, atol=0)
    x = x[(np.abs(x) < 1e30) & (np.abs(x) > 1e-30)].astype(np.float32)
    single = erf(x)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, [exact_erf(each) for each in x], rtol=5e-7, atol=0)
    assert np.isnan(erf(np.array([np.nan]))).all()


@pytest.mark.numeric
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_of_huge_numbers(axis: int) -> None:
    x = np.array([[1e4, -1e4, 3.0], [1e4, 700.0, 2.0]])
    y = softmax_forward(x, axis=axis)
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-15)
    np.testing.assert_allclose(np.exp(log_softmax_forward(x, axis=axis)), y, rtol=1e-14)
    # a constant gradient has no direction left
    np.testing.assert_allclose(softmax_backward(y, np.full_like(x, 7.0), axis=axis), 0, atol=1e-14)
