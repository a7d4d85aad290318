"""Layers and losses over sequences: shapes, what they refuse, and what they count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nnlib.layers.layer import Layer, Run, Shape, ShapeError
from nnlib.layers.recurrent import GRU, LSTM, SimpleRecurrent
from nnlib.layers.sequence import LastStep, RowConvolution, StridedLengths
from nnlib.losses.ctc import CtcLoss


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (LSTM("a", 5), (7, 5)),
        (LSTM("a", 5, bidirectional=True), (7, 10)),
        (GRU("a", 5, bidirectional=True, merge="sum"), (7, 5)),
        (SimpleRecurrent("a", 2), (7, 2)),
        (RowConvolution("a", 3), (7, 4)),
        (LastStep("a"), (4,)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_shapes_with_and_without_lengths(layer: Layer, shape: Shape) -> None:
    assert layer.output_shape(((7, 4),)) == layer.output_shape(((7, 4), ())) == shape
    for wrong in ((), ((7,),), ((7, 4), (7,)), ((7, 4), (), ())):
        with pytest.raises(ShapeError, match=r"layer 'a' \(.*\) wants x \(T, C\) and perhaps lengths \(\), got"):
            layer.output_shape(wrong)


def test_parameters_and_what_they_multiply() -> None:
    lstm = LSTM("a", 5, bidirectional=True)
    assert lstm.parameter_shapes(((7, 4),)) == {
        "weight": (4, 20),
        "recurrent": (5, 20),
        "bias": (20,),
        "weight_reverse": (4, 20),
        "recurrent_reverse": (5, 20),
        "bias_reverse": (20,),
    }
    assert lstm.multiply_accumulates(((7, 4),)) == 2 * 7 * 20 * (4 + 5)
    assert set(GRU("a", 5).parameter_shapes(((7, 4),))) == {"weight", "recurrent", "bias", "recurrent_bias"}
    normalised = SimpleRecurrent("a", 5, normalised=True)
    assert set(normalised.parameter_shapes(((7, 4),))) == {"weight", "recurrent", "scale", "shift"}
    assert normalised.statistic_shapes(((7, 4),)) == {"mean": (5,), "variance": (5,)}
    assert normalised.mixes_samples
    assert not lstm.mixes_samples


def test_what_is_fresh() -> None:
    params = GRU("a", 50, normalised=True).initialise(((7, 40),), np.random.default_rng(0), np.dtype(np.float32))
    assert all(array.dtype == np.float32 for array in params.values())
    # uniform numbers of variance 2/(40 + 50)
    assert float(params["weight"].std()) == pytest.approx(np.sqrt(2 / 90), rel=0.05)
    assert float(np.abs(params["weight"]).max()) <= np.sqrt(6 / 90)
    assert (params["scale"] == 1).all()
    assert (params["variance"] == 1).all()
    assert not params["recurrent_bias"].any()


@pytest.mark.numeric
def test_lengths_behind_a_convolution() -> None:
    layer = StridedLengths("a", 3, 2, 1)
    lengths: NDArray[Any] = np.arange(8)
    found, _ = layer.forward({}, (lengths,), Run())
    assert found.tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
    assert found.dtype == np.int64
    assert StridedLengths("a", 5).forward({}, (np.array([3, 5, 9]),), Run())[0].tolist() == [0, 1, 5]
    with pytest.raises(ShapeError, match="wants lengths"):
        layer.output_shape(((3,),))


@pytest.mark.numeric
def test_a_sequence_alone_is_what_it_is_among_others() -> None:
    """What stands past a length changes nothing."""
    rng = np.random.default_rng(0)
    for layer in (LSTM("a", 3, bidirectional=True), GRU("a", 3), RowConvolution("a", 2), LastStep("a")):
        params = layer.initialise(((6, 4),), rng, np.dtype(np.float64))
        x = rng.standard_normal((3, 6, 4))
        y, _ = layer.forward(params, (x, np.array([6, 2, 0])), Run())
        alone, _ = layer.forward(params, (x[1:2, :2],), Run())
        np.testing.assert_allclose(y[1, :2] if y.ndim == 3 else y[1], alone[0], rtol=1e-13)
        if y.ndim == 3:
            assert not y[1, 2:].any()
            assert not y[2].any()


def test_what_the_loss_refuses() -> None:
    loss = CtcLoss(outputs=("logits",), blank=4)
    assert loss.target_shape(((9, 5),)) == (9,)
    assert CtcLoss(outputs=("logits", "lengths"), labels=3).target_shape(((9, 5), ())) == (3,)
    with pytest.raises(ShapeError, match="has 4 classes"):
        loss.target_shape(((9, 4),))
    with pytest.raises(ShapeError, match=r"wants logits \(T, classes\)"):
        loss.target_shape(((9,),))


@pytest.mark.numeric
def test_a_sample_without_weight_costs_nothing_even_if_its_target_does_not_fit() -> None:
    loss = CtcLoss(outputs=("logits",), labels=2)
    value, (grad,) = loss.forward((np.zeros((2, 2, 3)),), np.array([[1, 1], [1, 2]]), np.array([0.0, 1.0]))
    assert value == pytest.approx(2 * np.log(3))
    assert grad is not None
    assert not grad[0].any()
    assert np.isfinite(grad).all()
