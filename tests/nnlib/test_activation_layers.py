"""Layers of activations and losses: what they keep, what they refuse, and the draws of a code."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.layers.activation import GELU, POINTWISE, ReLU
from nnlib.layers.layer import INFERENCE, Layer, Run, Shape, ShapeError
from nnlib.layers.reparameterise import Reparameterise
from nnlib.layers.scale import Scale
from nnlib.layers.softmax import Softmax
from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.dice import Dice
from nnlib.losses.gaussian_kl import GaussianKL
from nnlib.losses.loss import Loss
from nnlib.losses.regression import MeanSquaredError
from nnlib.ops.activation import ACTIVATIONS
from nnlib.ops.reparameterisation import normal_noise

DOUBLE = np.dtype(np.float64)


@pytest.mark.parametrize("kind", POINTWISE)
def test_they_keep_the_input_or_the_output_and_nothing_else(kind: type[Layer]) -> None:
    layer = kind("a")
    x = np.linspace(0.1, 2, 6).reshape(2, 3)
    y, saved = layer.forward({}, (x,), INFERENCE)
    assert saved is x or saved is y
    assert layer.output_shape(((3,),)) == (3,)
    assert layer.parameter_shapes(((3,),)) == {}
    assert y is not x


def test_every_function_has_a_layer() -> None:
    functions = {kind("a").function for kind in POINTWISE} | {GELU("a", approximate=True).function}
    assert functions == set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("layer", "shapes", "words"),
    [
        (ReLU("r"), ((3,), (3,)), "'r' takes one input, got 2"),
        (Softmax("s", axis=1), ((3,),), "'s' (softmax) goes along axis 1"),
        (Softmax("s", axis=-3), ((3, 4),), "axis -3 of a sample, got samples of shape (3, 4)"),
        (Reparameterise("z"), ((3,),), "'z' (reparameterise) takes means and log-variances"),
        (Reparameterise("z"), ((3,), (4,)), "of one shape, got ((3,), (4,))"),
        (Scale("f"), (), "'f' takes one input, got 0"),
    ],
)
def test_layers_refuse(layer: Layer, shapes: tuple[Shape, ...], words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.output_shape(shapes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "shapes", "words"),
    [
        (CrossEntropy(outputs=("x",)), ((),), "logits (..., classes) of 'x', got ()"),
        (CrossEntropy(outputs=("x",), class_weights=(1.0, 2.0)), ((3,),), "weights of 2 classes, but 'x' has 3"),
        (Dice(outputs=("x",)), ((),), "wants 'x' with classes"),
        (GaussianKL(outputs=("m", "v")), ((3,), (4,)), "means and log-variances of one shape"),
        (GaussianKL(outputs=("m",)), ((3,),), "means and log-variances of one shape"),
        (MeanSquaredError(outputs=("x", "y")), ((3,), (3,)), "takes one output, got 2"),
        (BinaryCrossEntropy(outputs=("x",), logits=False, positive_weight=2.0), ((3,),), "only with logits"),
    ],
)
def test_losses_refuse(loss: Loss, shapes: tuple[Shape, ...], words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        loss.target_shape(shapes)
    assert words in str(caught.value)


def test_inference_takes_the_mean() -> None:
    mean = np.array([[1.0, -2.0]])
    y, _ = Reparameterise("z").forward({}, (mean, np.ones((1, 2))), INFERENCE)
    np.testing.assert_array_equal(y, mean)


def test_draws_depend_on_sample_layer_and_key_alone() -> None:
    zeros = np.zeros((6, 5))

    def draw(name: str, key: int, first: int, part: slice) -> np.ndarray:
        run = Run(training=True, key=key, first_sample=first)
        return Reparameterise(name).forward({}, (zeros[part], zeros[part]), run)[0]

    whole = draw("z", 7, 10, slice(None))
    np.testing.assert_array_equal(np.concatenate([draw("z", 7, 10, slice(2)), draw("z", 7, 12, slice(4))]), whole)
    for other in (draw("y", 7, 10, slice(None)), draw("z", 8, 10, slice(None)), draw("z", 7, 16, slice(None))):
        assert not np.isin(other, whole).any()
    assert len(np.unique(whole)) == whole.size


@pytest.mark.numeric
def test_the_noise_is_normal() -> None:
    noise = normal_noise(12345, 3, (200, 501), DOUBLE).ravel()
    size = len(noise)
    assert abs(noise.mean()) < 4 / np.sqrt(size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / size)
    assert abs((noise**3).mean()) < 4 * np.sqrt(15 / size)
    assert abs((noise**4).mean() - 3) < 4 * np.sqrt(96 / size)
    # neighbours, which come from one counter, know nothing of one another
    assert abs((noise[:-1] * noise[1:]).mean()) < 4 / np.sqrt(size)
    assert abs((noise[:-2] * noise[2:]).mean()) < 4 / np.sqrt(size)
    assert np.abs(noise).max() < 7
    single = normal_noise(12345, 3, (200, 501), np.dtype(np.float32)).ravel()
    np.testing.assert_array_equal(single, noise.astype(np.float32))
