"""Activations and softmax, forward and backward, against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.activation import ACTIVATIONS, ActivationName
from nnlib.ops.erf import erf, erfc
from nnlib.ops.rectifiers import prelu_backward, prelu_forward
from nnlib.ops.softmax import log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 1 << 30)
sizes = st.sampled_from([0.3, 1.0, 5.0, 100.0])
orders = st.booleans()

THEIRS: dict[ActivationName, Callable[..., Any]] = {
    "relu": torch.relu,
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "elu": lambda x, alpha: F.elu(x, alpha),
    "selu": torch.selu,
    "relu6": F.relu6,
    "clipped_relu": lambda x, ceiling: F.hardtanh(x, 0.0, ceiling),
    # the gradient of PyTorch's own takes 1/6 in single precision
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
    "hard_swish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "erf": torch.erf,
    # PyTorch's own is the identity above 20
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "absolute": torch.abs,
}
POSITIVE = ("log", "sqrt")


def normal(seed: int, shape: tuple[int, ...], dtype: str, *, turned: bool) -> Array:
    """Random numbers; ``turned``: they lie in memory with the first axis innermost."""
    numbers = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return np.asfortranarray(numbers) if turned else numbers


@dtypes
@pytest.mark.parametrize("name", ACTIVATIONS)
@examples
@given(shape=shapes, seed=seeds, size=sizes, option=st.floats(0.01, 2), turned=orders)
def test_activations(
    name: ActivationName, dtype: str, shape: tuple[int, ...], seed: int, size: float, option: float, turned: bool
) -> None:
    activation = ACTIVATIONS[name]
    options = dict.fromkeys(activation.options, option)
    # numbers of a few units, where exponentials of 100 would leave the type
    scale = min(size, 5.0) if name == "exp" else size
    x, grad = (
        normal(seed, shape, dtype, turned=turned) * np.array(scale, dtype),
        normal(seed + 1, shape, dtype, turned=False),
    )
    # tails alone would be compared with numbers that are nothing but rounding
    x.flat[0], grad.flat[0] = 0.3, 0.5
    if name in POSITIVE:
        x = np.abs(x) + np.array(0.01, dtype)
    if name == "reciprocal":
        x += np.where(x < 0, -0.1, 0.1).astype(dtype)
    theirs = torch.tensor(x, requires_grad=True)
    expected = THEIRS[name](theirs, **options)
    expected.backward(torch.tensor(grad))
    y = activation.forward(x, **options)
    check_same(y, expected.detach().numpy(), name)
    kept = y if activation.saves == "output" else x
    found = activation.backward(kept, grad, **options)
    check_same(found, theirs.grad.numpy(), f"gradient of {name}")
    # the result may take the place of what it is made of
    assert np.array_equal(activation.backward(kept, grad, out=kept, **options), found)
    assert kept is not found
    assert np.array_equal(kept, found)


@dtypes
@examples
@given(shape=shapes, seed=seeds, one=st.booleans(), turned=orders)
def test_prelu(dtype: str, shape: tuple[int, ...], seed: int, one: bool, turned: bool) -> None:
    x, grad = normal(seed, shape, dtype, turned=turned), normal(seed + 1, shape, dtype, turned=False)
    channels = shape[-1] if len(shape) > 1 else 1
    slope = np.random.default_rng(seed + 2).uniform(-0.5, 1.5, 1 if one else channels).astype(dtype)
    theirs, their_slope = torch.tensor(x, requires_grad=True), torch.tensor(slope, requires_grad=True)
    last_first = theirs.movedim(-1, 1) if len(shape) > 1 else theirs
    expected = F.prelu(last_first, their_slope)
    expected = expected.movedim(1, -1) if len(shape) > 1 else expected
    expected.backward(torch.tensor(grad))
    check_same(prelu_forward(x, slope), expected.detach().numpy(), "output")
    grad_x, grad_slope = prelu_backward(x, slope, grad)
    check_same(grad_x, theirs.grad.numpy(), "gradient by x")
    # the sum may cancel
    scale = float(np.abs(np.minimum(x, 0) * grad).sum()) or 1.0
    assert grad_slope.dtype == slope.dtype
    assert np.max(np.abs(grad_slope - their_slope.grad.numpy())) <= TOLERANCE[dtype] * scale


@dtypes
@pytest.mark.parametrize("logarithm", [False, True])
@examples
@given(shape=shapes, seed=seeds, size=sizes, place=st.integers(-4, 3), turned=orders)
def test_softmax(
    dtype: str, logarithm: bool, shape: tuple[int, ...], seed: int, size: float, place: int, turned: bool
) -> None:
    axis = place % len(shape)
    axis -= len(shape) if place < 0 else 0
    x, grad = (
        normal(seed, shape, dtype, turned=turned) * np.array(size, dtype),
        normal(seed + 1, shape, dtype, turned=turned),
    )
    theirs = torch.tensor(x, requires_grad=True)
    expected = (torch.log_softmax if logarithm else torch.softmax)(theirs, dim=axis)
    expected.backward(torch.tensor(grad))
    forward = log_softmax_forward if logarithm else softmax_forward
    backward = log_softmax_backward if logarithm else softmax_backward
    y = forward(x, axis=axis)
    check_same(y, expected.detach().numpy(), "output")
    found = backward(y, grad, axis=axis)
    # of one number, or where one has all the weight, the gradient is nothing but rounding
    limit = TOLERANCE[dtype] * max(float(np.max(np.abs(theirs.grad.numpy()))), 1e-2)
    assert found.dtype == grad.dtype
    assert np.max(np.abs(found - theirs.grad.numpy())) <= limit
    assert np.array_equal(backward(y, grad, axis=axis, out=grad), found)


@dtypes
@examples
@given(seed=seeds, size=st.sampled_from([1e-3, 0.3, 1.0, 3.0, 10.0]))
def test_error_functions(dtype: str, seed: int, size: float) -> None:
    x = normal(seed, (500,), dtype, turned=False) * np.array(size, dtype)
    check_same(erf(x), torch.erf(torch.tensor(x)).numpy(), "erf", tolerance=1e-14 if dtype == "float64" else 1e-6)
    check_same(erfc(x), torch.erfc(torch.tensor(x)).numpy(), "erfc", tolerance=1e-14 if dtype == "float64" else 1e-6)
