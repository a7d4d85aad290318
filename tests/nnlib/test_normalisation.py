"""Normalisation without PyTorch: cases by hand, what does not fit, and numbers that do not depend on the threads."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm, RMSNorm
from nnlib.layers.layer import Layer, Run, ShapeError
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.ops import blocks
from nnlib.ops.local_response import window_sums
from nnlib.ops.normalisation import batch_norm_backward, batch_norm_forward, batch_statistics

X = np.array([[1.0, 10.0], [3.0, 30.0]])


def test_a_batch_by_hand() -> None:
    layer = BatchNorm("bn", epsilon=0.0, momentum=0.25)
    params = layer.initialise(((2,),), np.random.default_rng(0), np.dtype(np.float64))
    assert {name: array.tolist() for name, array in params.items()} == {
        "scale": [1, 1], "shift": [0, 0], "mean": [0, 0], "variance": [1, 1]
    }  # fmt: skip
    y, saved = layer.forward(params, (X,), Run(training=True))
    assert y.tolist() == [[-1, -1], [1, 1]]
    after = layer.statistics(params, saved)
    assert after["mean"].tolist() == [0.5, 5]
    # the unbiased variances are 2 and 200
    assert after["variance"].tolist() == [0.75 + 0.5, 0.75 + 50]
    assert layer.mixes_samples
    assert not LayerNorm("ln").mixes_samples


def test_rows_by_hand() -> None:
    run = Run()
    assert np.allclose(LayerNorm("ln", epsilon=0.0).forward({}, (X,), run)[0], [[-1, 1], [-1, 1]])
    assert np.allclose(RMSNorm("rms", epsilon=0.0).forward({}, (np.array([[3.0, 4.0]]),), run)[0] ** 2 * 12.5, [9, 16])
    y, _ = LocalResponseNorm("lrn", size=3, alpha=3.0, beta=1.0, k=1.0).forward({}, (np.array([[1.0, 2.0, 3.0]]),), run)
    assert np.allclose(y, [[1 / 6, 2 / 15, 3 / 14]])
    assert window_sums(np.array([[1.0, 2.0, 4.0]]), 1, 0).tolist() == [[1, 3, 6]]


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (BatchNorm("x"), (), "at least 1 axes"),
        (LayerNorm("x", axes=3), (4, 5), "at least 3 axes"),
        (RMSNorm("x", axes=0), (4, 5), "axes=0"),
        (GroupNorm("x", 4), (3, 6), "divide into 4 groups"),
        (LocalResponseNorm("x", 0), (3, 6), "window of at least 1 channel"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer: Layer, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        layer.output_shape((shape,))


def test_one_number_per_channel_has_no_variance() -> None:
    layer = BatchNorm("bn")
    params = layer.initialise(((2,),), np.random.default_rng(0), np.dtype(np.float64))
    _, saved = layer.forward(params, (X[:1],), Run(training=True))
    with pytest.raises(ValueError, match="more than one number per channel"):
        layer.statistics(params, saved)


@pytest.mark.numeric
def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal((40, 30, 40, 64)).astype(np.float32) for _ in range(2))
    assert x.nbytes > blocks.THREADED_BYTES
    gamma = rng.standard_normal(64).astype(np.float32)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(blocks, "allowed_processors", lambda cores=cores: cores)
        y, statistics = batch_norm_forward(x, gamma, gamma, epsilon=1e-5)
        found.append((y, statistics.mean, statistics.variance, *batch_norm_backward(grad, x, gamma, statistics)))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variances_far_from_zero_keep_their_digits(dtype: type) -> None:
    exact = np.random.default_rng(1).integers(-8, 9, (6000, 5)) / 8.0
    statistics = batch_statistics((exact + 4096).astype(dtype), epsilon=0.0)
    assert np.allclose(statistics.variance, exact.var(axis=0), rtol=1e-4 if dtype is np.float32 else 1e-11)
