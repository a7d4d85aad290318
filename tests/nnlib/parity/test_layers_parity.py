"""Layers and the loss against PyTorch over random shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.device import TRAINING
from nnlib.layers.activation import ReLU
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Layer
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.ops.loss import softmax_cross_entropy
from tests.nnlib.parity import TOLERANCE, Array, check_same, hwio, nchw, nhwc, oihw

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=30, deadline=None)


@dataclass(frozen=True)
class Window:
    """Images of ``shape`` (B, H, W, C) under ``kernel``."""

    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int


@st.composite
def windows(draw: st.DrawFn, *, padded: bool) -> Window:
    """Windows that fit: one sample or a few, odd and even sizes, stride 1 to 3, padding 0 to 2."""
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    padding = draw(st.integers(0, 2)) if padded else 0
    height, width = (draw(st.integers(max(1, length - 2 * padding), 13)) for length in kernel)
    shape = (draw(st.integers(1, 5)), height, width, draw(st.integers(1, 7)))
    return Window(shape=shape, kernel=kernel, stride=draw(st.integers(1, 3)), padding=padding)


def normal(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def run(layer: Layer, params: dict[str, Array], x: Array, seed: int) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Output, a random gradient of it, and the gradients by input and parameters."""
    y, saved = layer.forward(params, (x,), TRAINING)
    (grad_y,) = normal(seed + 1, x.dtype.name, y.shape)
    (grad_x,), grads = layer.backward(params, saved, grad_y, (True,))
    assert grad_x is not None
    return y, grad_y, grad_x, grads


def leaf(array: Array) -> torch.Tensor:
    """A tensor whose gradient is wanted."""
    return torch.tensor(array, requires_grad=True)


@dtypes
@examples
@given(window=windows(padded=True), channels=st.integers(1, 9), bias=st.booleans(), seed=st.integers(0, 99))
def test_conv2d(dtype: str, window: Window, channels: int, bias: bool, seed: int) -> None:
    layer = Conv2d("c", channels, window.kernel, window.stride, window.padding, bias)
    x, *values = normal(seed, dtype, window.shape, *layer.parameter_shapes((window.shape[1:],)).values())
    params = dict(zip(layer.parameter_shapes((window.shape[1:],)), values, strict=True))
    y, grad_y, grad_x, grads = run(layer, params, x, seed)
    theirs = {"x": leaf(nchw(x)), "weight": leaf(oihw(params["weight"]))}
    if bias:
        theirs["bias"] = leaf(params["bias"])
    expected = F.conv2d(theirs["x"], theirs["weight"], theirs.get("bias"), stride=window.stride, padding=window.padding)
    expected.backward(torch.tensor(nchw(grad_y)))
    check_same(y, nhwc(expected.detach().numpy()), "y")
    check_same(grad_x, nhwc(theirs["x"].grad.numpy()), "grad x")
    check_same(grads["weight"], hwio(theirs["weight"].grad.numpy()), "grad weight")
    if bias:
        check_same(grads["bias"], theirs["bias"].grad.numpy(), "grad bias")


@dtypes
@examples
@given(
    sizes=st.tuples(st.integers(1, 17), st.integers(1, 40), st.integers(1, 23)),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_linear(dtype: str, sizes: tuple[int, int, int], bias: bool, seed: int) -> None:
    batch, features, units = sizes
    layer = Linear("l", units, bias)
    x, weight, offset = normal(seed, dtype, (batch, features), (features, units), (units,))
    y, grad_y, grad_x, grads = run(layer, {"weight": weight} | ({"bias": offset} if bias else {}), x, seed)
    their_x, their_weight, their_bias = leaf(x), leaf(weight.T), leaf(offset) if bias else None
    expected = F.linear(their_x, their_weight, their_bias)
    expected.backward(torch.tensor(grad_y))
    check_same(y, expected.detach().numpy(), "y")
    check_same(grad_x, their_x.grad.numpy(), "grad x")
    check_same(grads["weight"], their_weight.grad.numpy().T, "grad weight")
    if their_bias is not None:
        check_same(grads["bias"], their_bias.grad.numpy(), "grad bias")


@dtypes
@examples
@given(shape=st.lists(st.integers(1, 9), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_relu(dtype: str, shape: list[int], seed: int) -> None:
    (x,) = normal(seed, dtype, tuple(shape))
    # tenths: some numbers are exactly 0
    x = np.round(x, 1)
    y, grad_y, grad_x, _ = run(ReLU("r"), {}, x, seed)
    their_x = leaf(x)
    expected = F.relu(their_x)
    expected.backward(torch.tensor(grad_y))
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_array_equal(grad_x, their_x.grad.numpy())


@dtypes
@pytest.mark.parametrize("ties", [False, True], ids=["no_ties", "ties"])
@examples
@given(window=windows(padded=False), seed=st.integers(0, 99))
def test_max_pool(dtype: str, ties: bool, window: Window, seed: int) -> None:
    (x,) = normal(seed, dtype, window.shape)
    if ties:
        x = np.round(x)
    y, grad_y, grad_x, _ = run(MaxPool("p", window.kernel, window.stride), {}, x, seed)
    their_x = leaf(nchw(x))
    expected = F.max_pool2d(their_x, window.kernel, window.stride)
    expected.backward(torch.tensor(nchw(grad_y)))
    np.testing.assert_array_equal(y, nhwc(expected.detach().numpy()))
    check_same(grad_x, nhwc(their_x.grad.numpy()), "grad x")


@dtypes
@examples
@given(
    batch=st.integers(1, 17),
    classes=st.integers(2, 30),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_cross_entropy(dtype: str, batch: int, classes: int, scale: float, seed: int) -> None:
    (logits,) = normal(seed, dtype, (batch, classes))
    logits *= np.dtype(dtype).type(scale)
    labels = np.random.default_rng(seed).integers(0, classes, batch)
    loss, grad = softmax_cross_entropy(logits, labels)
    their_logits = leaf(logits)
    expected = F.cross_entropy(their_logits, torch.tensor(labels))
    expected.backward()
    # a loss of almost nothing is the difference of numbers as large as the logits
    assert loss == pytest.approx(expected.item(), rel=TOLERANCE[dtype], abs=TOLERANCE[dtype] * 1e-2)
    their_grad = their_logits.grad.numpy()
    assert grad.dtype == their_grad.dtype
    # gradients are at most 1 / batch, and vanish where the loss does
    assert np.max(np.abs(grad - their_grad)) <= TOLERANCE[dtype] * max(np.max(np.abs(their_grad)), 1e-2 / batch)
