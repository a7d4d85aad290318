"""Layers of activations and losses against PyTorch's modules, through what graphs and models call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.layers.activation import (
    ELU,
    GELU,
    SELU,
    Abs,
    ClippedReLU,
    Erf,
    Exp,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Log,
    Reciprocal,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Sqrt,
    Square,
    Tanh,
)
from nnlib.layers.layer import INFERENCE, Layer, Run
from nnlib.layers.prelu import PReLU
from nnlib.layers.reparameterise import Reparameterise
from nnlib.layers.scale import Scale
from nnlib.layers.softmax import LogSoftmax, Softmax, batch_axis
from nnlib.losses.cross_entropy import CrossEntropy
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)
seeds = st.integers(0, 1 << 30)


class Hard(nn.Module):  # type: ignore[misc, name-defined]
    """PyTorch's own has a gradient of single precision."""

    def forward(self, x: Any) -> Any:
        return nn.functional.relu6(x + 3) / 6


PAIRS: dict[str, tuple[Layer, Callable[..., Any]]] = {
    "ReLU": (ReLU("a"), nn.ReLU()),
    "LeakyReLU": (LeakyReLU("a"), nn.LeakyReLU()),
    "LeakyReLU 0.3": (LeakyReLU("a", 0.3), nn.LeakyReLU(0.3)),
    "ELU": (ELU("a"), nn.ELU()),
    "ELU 0.4": (ELU("a", 0.4), nn.ELU(0.4)),
    "SELU": (SELU("a"), nn.SELU()),
    "ReLU6": (ReLU6("a"), nn.ReLU6()),
    "ClippedReLU": (ClippedReLU("a"), nn.Hardtanh(0.0, 20.0)),
    "ClippedReLU 0.5": (ClippedReLU("a", 0.5), nn.Hardtanh(0.0, 0.5)),
    "HardSigmoid": (HardSigmoid("a"), Hard()),
    "HardSwish": (HardSwish("a"), nn.Hardswish()),
    "Sigmoid": (Sigmoid("a"), nn.Sigmoid()),
    "Tanh": (Tanh("a"), nn.Tanh()),
    "GELU": (GELU("a"), nn.GELU()),
    "GELU tanh": (GELU("a", approximate=True), nn.GELU(approximate="tanh")),
    "SiLU": (SiLU("a"), nn.SiLU()),
    "Softplus": (Softplus("a"), nn.Softplus(threshold=1e9)),
    "Erf": (Erf("a"), torch.erf),
    "Exp": (Exp("a"), torch.exp),
    "Square": (Square("a"), torch.square),
    "Abs": (Abs("a"), torch.abs),
    "Scale": (Scale("a", 1.5, -0.25), lambda x: 1.5 * x - 0.25),
    "Log": (Log("a"), torch.log),
    "Sqrt": (Sqrt("a"), torch.sqrt),
    "Reciprocal": (Reciprocal("a"), torch.reciprocal),
    "Softmax": (Softmax("a"), nn.Softmax(dim=-1)),
    "Softmax 0": (Softmax("a", axis=0), nn.Softmax(dim=1)),
    "LogSoftmax": (LogSoftmax("a"), nn.LogSoftmax(dim=-1)),
    "LogSoftmax 0": (LogSoftmax("a", axis=0), nn.LogSoftmax(dim=1)),
}


def numbers(shape: tuple[int, ...], dtype: str, seed: int, *, positive: bool = False) -> Array:
    found = np.random.default_rng(seed).standard_normal(shape)
    return (np.abs(found) + 0.1 if positive else found).astype(dtype)


@dtypes
@pytest.mark.parametrize("name", PAIRS)
@examples
@given(shape=shapes, seed=seeds)
def test_layers(name: str, dtype: str, shape: tuple[int, ...], seed: int) -> None:
    layer, theirs = PAIRS[name]
    x = numbers(shape, dtype, seed, positive=name in ("Log", "Sqrt", "Reciprocal"))
    grad = numbers(shape, dtype, seed + 1)
    # a small positive number has a slope that is no rounding
    x.flat[0], grad.flat[0] = 0.3, 1
    assert layer.output_shape((shape[1:],)) == shape[1:]
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(tensor)
    expected.backward(torch.tensor(grad))
    y, saved = layer.forward({}, (x,), INFERENCE)
    check_same(y, expected.detach().numpy(), name)
    (found,), of_parameters = layer.backward({}, saved, grad, (True,))
    assert found is not None
    gradient = tensor.grad.numpy()
    assert (found.shape, found.dtype) == (gradient.shape, gradient.dtype)
    # along an axis of one number a softmax has none but rounding
    assert np.max(np.abs(found - gradient)) <= TOLERANCE[dtype] * max(np.max(np.abs(gradient)), 1e-2)
    assert not of_parameters
    assert layer.backward({}, saved, grad, (False,)) == ((None,), {})


@dtypes
@examples
@given(shape=shapes, shared=st.booleans(), seed=seeds)
def test_prelu(dtype: str, shape: tuple[int, ...], shared: bool, seed: int) -> None:
    layer = PReLU("a", shared=shared)
    rng = np.random.default_rng(seed)
    params = layer.initialise((shape[1:],), rng, np.dtype(dtype))
    theirs = nn.PReLU(1 if shared else shape[-1], dtype=torch.float64 if dtype == "float64" else torch.float32)
    check_same(params["slope"], theirs.weight.detach().numpy(), "initial slopes")
    x, grad = numbers(shape, dtype, seed), numbers(shape, dtype, seed + 1)
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(tensor.movedim(-1, 1)).movedim(1, -1)
    expected.backward(torch.tensor(grad))
    y, saved = layer.forward(params, (x,), INFERENCE)
    check_same(y, expected.detach().numpy(), "output")
    (found,), by_slope = layer.backward(params, saved, grad, (True,))
    assert found is not None
    check_same(found, tensor.grad.numpy(), "gradient")
    scale = np.abs(np.minimum(x, 0) * grad).sum() or 1.0
    assert by_slope["slope"].dtype == dtype
    assert np.max(np.abs(by_slope["slope"] - theirs.weight.grad.numpy())) <= TOLERANCE[dtype] * scale


@dtypes
@examples
@given(
    shape=shapes, classes=st.integers(2, 6), smoothing=st.sampled_from([0.0, 0.1]), weighted=st.booleans(), seed=seeds
)
def test_cross_entropy(
    dtype: str, shape: tuple[int, ...], classes: int, smoothing: float, weighted: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = tuple(rng.uniform(0.2, 2, classes).tolist()) if weighted else None
    loss = CrossEntropy(outputs=("x",), label_smoothing=smoothing, class_weights=weights)
    assert loss.target_shape(((*shape[1:], classes),)) == shape[1:]
    logits, labels = numbers((*shape, classes), dtype, seed), rng.integers(0, classes, shape)
    shares = rng.uniform(0.1, 1, shape[0]).astype(dtype)
    tensor = torch.tensor(logits, requires_grad=True)
    each = nn.functional.cross_entropy(
        tensor.movedim(-1, 1),
        torch.tensor(labels),
        weight=None if weights is None else tensor.new_tensor(weights),
        label_smoothing=smoothing,
        reduction="none",
    )
    expected = (each.reshape(shape[0], -1).mean(1) * torch.tensor(shares)).sum()
    expected.backward()
    value, (grad,) = loss.forward((logits,), labels, shares)
    assert grad is not None
    assert value == pytest.approx(float(expected.detach()), rel=TOLERANCE[dtype])
    check_same(grad, tensor.grad.numpy(), "gradient")


@dtypes
@examples
@given(shape=shapes, key=st.integers(0, 1 << 62), first=st.integers(0, 1 << 40), seed=seeds)
def test_reparameterise(dtype: str, shape: tuple[int, ...], key: int, first: int, seed: int) -> None:
    """PyTorch's derivative with the same noise, which a draw with mean 0 and variance 1 shows."""
    layer, run = Reparameterise("code"), Run(training=True, key=key, first_sample=first)
    mean, spread, grad = (numbers(shape, dtype, seed + place) for place in range(3))
    noise, _ = layer.forward({}, (np.zeros_like(mean), np.zeros_like(mean)), run)
    tensors = [torch.tensor(each, requires_grad=True) for each in (mean, spread)]
    expected = tensors[0] + torch.exp(tensors[1] / 2) * torch.tensor(noise)
    expected.backward(torch.tensor(grad))
    y, saved = layer.forward({}, (mean, spread), run)
    check_same(y, expected.detach().numpy(), "output")
    found, _ = layer.backward({}, saved, grad, (True, True))
    for ours, tensor in zip(found, tensors, strict=True):
        assert ours is not None
        check_same(ours, tensor.grad.numpy(), "gradient")


def test_axes_of_samples() -> None:
    assert [batch_axis(axis) for axis in (-2, -1, 0, 1)] == [-2, -1, 1, 2]
