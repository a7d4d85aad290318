"""Layers: shape rules in words, fresh parameters, and gradients against central differences."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.device import TRAINING
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Array, Layer, Shape, ShapeError
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool

FP64, FP32 = np.dtype(np.float64), np.dtype(np.float32)
EVERY: list[tuple[Layer, Shape]] = [
    (Conv2d("same", 3, (3, 3), padding=1), (5, 6, 2)),
    (Conv2d("ragged", 2, (2, 3), stride=2, padding=2), (5, 6, 3)),
    (Conv2d("no_bias", 2, (1, 2), stride=3, bias=False), (4, 7, 2)),
    (Linear("dense", 4), (6,)),
    (Linear("dense_no_bias", 1, bias=False), (5,)),
    (MaxPool("beside", (2, 2), 2), (5, 4, 2)),
    (MaxPool("overlapping", (3, 2), 1), (5, 4, 2)),
    (ReLU("relu"), (3, 4)),
    (Flatten("flat"), (2, 3, 4)),
]
every_layer = pytest.mark.parametrize(("layer", "shape"), EVERY, ids=[layer.name for layer, _ in EVERY])


def slopes(layer: Layer, params: dict[str, Array], x: Array, grad: Array, moved: Array) -> Array:
    """Central differences of ``<forward, grad>`` by every entry of ``moved``, which is ``x`` or a parameter."""
    step = 1e-5
    found = np.empty_like(moved)
    for index in np.ndindex(moved.shape):
        kept = moved[index]
        values = []
        for target in (kept + step, kept - step):
            moved[index] = target
            values.append(float(np.vdot(layer.forward(params, (x,), TRAINING)[0], grad)))
        moved[index] = kept
        found[index] = (values[0] - values[1]) / (2 * step)
    return found


@pytest.mark.numeric
@pytest.mark.parametrize("batch", [1, 3])
@every_layer
def test_gradients_are_the_slopes(layer: Layer, shape: Shape, batch: int) -> None:
    rng = np.random.default_rng(5)
    params = layer.initialise((shape,), rng, FP64)
    for array in params.values():
        array += 0.1 * rng.standard_normal(array.shape)
    x = rng.standard_normal((batch, *shape))
    y, saved = layer.forward(params, (x,), TRAINING)
    grad = rng.standard_normal(y.shape)
    (grad_x,), grads = layer.backward(params, saved, grad, (True,))
    assert grad_x is not None
    assert list(grads) == list(params)
    np.testing.assert_allclose(grad_x, slopes(layer, params, x, grad, x), rtol=1e-8, atol=1e-8)
    for name, array in params.items():
        np.testing.assert_allclose(grads[name], slopes(layer, params, x, grad, array), rtol=1e-8, atol=1e-8)


@every_layer
def test_an_input_gradient_that_nobody_needs_is_left_out(layer: Layer, shape: Shape) -> None:
    rng = np.random.default_rng(5)
    params = layer.initialise((shape,), rng, FP64)
    x = rng.standard_normal((2, *shape))
    y, saved = layer.forward(params, (x,), TRAINING)
    grad = rng.standard_normal(y.shape)
    inputs, grads = layer.backward(params, saved, grad, (False,))
    _, all_grads = layer.backward(params, saved, grad, (True,))
    assert inputs == (None,)
    assert grads.keys() == all_grads.keys()
    for name, value in grads.items():
        np.testing.assert_array_equal(value, all_grads[name])


@every_layer
def test_forward_has_the_shape_that_was_promised(layer: Layer, shape: Shape) -> None:
    rng = np.random.default_rng(5)
    for dtype in (FP64, FP32):
        params = layer.initialise((shape,), rng, dtype)
        x = rng.standard_normal((2, *shape)).astype(dtype)
        y, saved = layer.forward(params, (x,), TRAINING)
        assert (y.shape, y.dtype) == ((2, *layer.output_shape((shape,))), dtype)
        (grad_x,), grads = layer.backward(params, saved, y, (True,))
        assert grad_x is not None
        assert (grad_x.shape, grad_x.dtype) == (x.shape, dtype)
        assert {name: (value.shape, value.dtype) for name, value in grads.items()} == {
            name: (shape, dtype) for name, shape in layer.parameter_shapes((shape,)).items()
        }


@every_layer
def test_fresh_parameters_depend_on_the_generator_only(layer: Layer, shape: Shape) -> None:
    first, second, single = (
        layer.initialise((shape,), np.random.default_rng(9), dtype) for dtype in (FP64, FP64, FP32)
    )
    other = layer.initialise((shape,), np.random.default_rng(10), FP64)
    assert {name: array.shape for name, array in first.items()} == layer.parameter_shapes((shape,))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        assert single[name].dtype == FP32
        np.testing.assert_array_equal(array.astype(FP32), single[name])
        assert name == "bias" or not np.array_equal(array, other[name])


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("layer", "shape", "fan_in"),
    [(Conv2d("conv", 200, (3, 5)), (5, 5, 20), 300), (Linear("dense", 200), (400,), 400)],
    ids=["conv2d", "linear"],
)
def test_fresh_weights_have_the_variance_of_he(layer: Layer, shape: Shape, fan_in: int) -> None:
    params = layer.initialise((shape,), np.random.default_rng(0), FP64)
    weight = params["weight"] * np.sqrt(fan_in / 2)
    # mean and variance of n normal numbers scatter by 1/√n and √(2/n): four times that
    assert abs(weight.mean()) < 4 / np.sqrt(weight.size)
    assert abs(weight.var() - 1) < 4 * np.sqrt(2 / weight.size)
    assert not params["bias"].any()


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv2d("c", 7, (3, 3)), (8, 9, 2), (6, 7, 7)),
        (Conv2d("c", 7, (3, 3), padding=1), (8, 9, 2), (8, 9, 7)),
        (Conv2d("c", 7, (2, 5), stride=2, padding=1), (8, 9, 2), (5, 4, 7)),
        (Conv2d("c", 7, (8, 9)), (8, 9, 2), (1, 1, 7)),
        (MaxPool("p", (2, 2), 2), (8, 9, 2), (4, 4, 2)),
        (MaxPool("p", (3, 2), 1), (3, 2, 5), (1, 1, 5)),
        (Linear("l", 3), (12,), (3,)),
        (ReLU("r"), (4, 5, 6), (4, 5, 6)),
        (Flatten("f"), (4, 5, 6), (120,)),
        (Flatten("f"), (4,), (4,)),
    ],
    ids=str,
)
def test_output_shapes(layer: Layer, shape: Shape, expected: Shape) -> None:
    assert layer.output_shape((shape,)) == expected


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv2d("c1", 7, (3, 3)), (8,), ["'c1'", "conv2d", "(height, width, channels)", "(8,)"]),
        (Conv2d("c1", 7, (3, 3)), (2, 8, 1), ["'c1'", "(3, 3)", "(2, 8, 1)", "padding 0"]),
        (Conv2d("c1", 7, (3, 6), padding=1), (8, 3, 1), ["'c1'", "(3, 6)", "(8, 3, 1)", "padding 1"]),
        (MaxPool("p1", (2, 3), 2), (8, 2, 1), ["'p1'", "max_pool", "(2, 3)", "(8, 2, 1)"]),
        (MaxPool("p1", (2, 3), 2), (8, 8), ["'p1'", "(height, width, channels)", "(8, 8)"]),
        (Linear("l1", 3), (), ["'l1'", "linear", "(..., features)", "()"]),
    ],
    ids=str,
)
def test_a_wrong_shape_is_named_with_layer_wanted_and_got(layer: Layer, shape: Shape, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.output_shape((shape,))
    for word in words:
        assert word in str(caught.value)


@every_layer
@pytest.mark.parametrize("count", [0, 2])
def test_every_layer_takes_one_input(layer: Layer, shape: Shape, count: int) -> None:
    with pytest.raises(ShapeError, match=rf"'{layer.name}' takes one input, got {count}"):
        layer.output_shape((shape,) * count)


def test_the_gradient_of_relu_at_zero_is_zero() -> None:
    y, saved = ReLU("r").forward({}, (np.array([[-1.0, 0.0, 2.0]]),), TRAINING)
    (grad,), _ = ReLU("r").backward({}, saved, np.array([[3.0, 4.0, 5.0]]), (True,))
    assert grad is not None
    np.testing.assert_array_equal(y, [[0.0, 0.0, 2.0]])
    np.testing.assert_array_equal(grad, [[0.0, 0.0, 5.0]])
