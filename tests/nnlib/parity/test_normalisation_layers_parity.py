"""Normalising layers against PyTorch's modules over several steps, running statistics and inference included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm, RMSNorm
from nnlib.layers.layer import INFERENCE, Layer, Run
from nnlib.layers.local_response import LocalResponseNorm
from tests.nnlib.parity import TOLERANCE, Array

torch: Any = pytest.importorskip("torch")

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
shapes = st.tuples(st.integers(2, 6), st.integers(1, 6), st.integers(2, 6), st.integers(4, 12))
"""Images (B, H, W, C); of two numbers nothing but rounding would be left of a gradient."""


def first(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1)


def same(x: Array) -> Array:
    return x


def compare(
    layer: Layer,
    module: Any,
    shape: tuple[int, ...],
    dtype: str,
    seed: int,
    *,
    there: Callable[[Array], Array],
    back: Callable[[Array], Array],
) -> None:
    """Three steps in training and one in inference, with the gradients of all of them."""
    rng = np.random.default_rng(seed)
    params = layer.initialise((shape[1:],), rng, np.dtype(dtype))
    names = {"scale": "weight", "shift": "bias"}
    for name in layer.parameter_shapes((shape[1:],)):
        params[name] = rng.standard_normal(params[name].shape).astype(dtype)
        getattr(module, names[name]).data = torch.tensor(params[name])
    module.to(getattr(torch, dtype))
    for step in range(4):
        run = Run(training=True) if step < 3 else INFERENCE
        module.train(run.training)
        x, grad = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        x += np.asarray(step, dtype)
        y, saved = layer.forward(params, (x,), run)
        theirs = torch.tensor(there(x), requires_grad=True)
        module.zero_grad()
        expected = module(theirs)
        expected.backward(torch.tensor(there(grad)))
        (grad_x,), grads = layer.backward(params, saved, grad, (True,))
        assert grad_x is not None
        near(y, back(expected.detach().numpy()), "y")
        near(grad_x, back(theirs.grad.numpy()), "grad x", scale=float(np.max(np.abs(grad))))
        assert grads.keys() == layer.parameter_shapes((shape[1:],)).keys()
        for name, found in grads.items():
            near(found, getattr(module, names[name]).grad.numpy(), f"grad {name}", scale=1.0)
        if run.training:
            params |= layer.statistics(params, saved)
        for name, running in (("mean", "running_mean"), ("variance", "running_var")):
            if name in params:
                near(params[name], getattr(module, running).numpy(), running)


def near(found: Array, expected: Array, what: str, *, scale: float = 0.0) -> None:
    """As ``check_same``; gradients that cancel may be off by their parts' rounding."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
    limit = TOLERANCE[expected.dtype.name] * max(float(np.max(np.abs(expected))), scale)
    assert float(np.max(np.abs(found - expected))) <= limit, what


@dtypes
@pytest.mark.parametrize("affine", [True, False])
@examples
@given(
    shape=shapes, epsilon=st.sampled_from([1e-5, 1e-3]), momentum=st.sampled_from([0.1, 0.7]), seed=st.integers(0, 99)
)
def test_batch_norm(
    affine: bool, dtype: str, shape: tuple[int, ...], epsilon: float, momentum: float, seed: int
) -> None:
    module = torch.nn.BatchNorm2d(shape[-1], eps=epsilon, momentum=momentum, affine=affine)
    compare(BatchNorm("x", epsilon, momentum, affine), module, shape, dtype, seed, there=first, back=last)


@dtypes
@examples
@given(shape=shapes, axes=st.integers(1, 3), affine=st.booleans(), seed=st.integers(0, 99))
def test_layer_norm(dtype: str, shape: tuple[int, ...], axes: int, affine: bool, seed: int) -> None:
    module = torch.nn.LayerNorm(shape[4 - axes :], eps=1e-4, elementwise_affine=affine)
    compare(LayerNorm("x", axes, 1e-4, affine), module, shape, dtype, seed, there=same, back=same)


@dtypes
@examples
@given(shape=shapes, axes=st.integers(1, 3), affine=st.booleans(), seed=st.integers(0, 99))
def test_rms_norm(dtype: str, shape: tuple[int, ...], axes: int, affine: bool, seed: int) -> None:
    module = torch.nn.RMSNorm(shape[4 - axes :], eps=1e-4, elementwise_affine=affine)
    compare(RMSNorm("x", axes, 1e-4, affine), module, shape, dtype, seed, there=same, back=same)


@dtypes
@examples
@given(shape=shapes, groups=st.integers(1, 4), affine=st.booleans(), seed=st.integers(0, 99))
def test_group_norm(dtype: str, shape: tuple[int, ...], groups: int, affine: bool, seed: int) -> None:
    shape = (*shape[:3], groups * shape[3])
    module = torch.nn.GroupNorm(groups, shape[-1], eps=1e-4, affine=affine)
    compare(GroupNorm("x", groups, 1e-4, affine), module, shape, dtype, seed, there=first, back=last)


@dtypes
@examples
@given(shape=shapes, size=st.integers(1, 6), alpha=st.sampled_from([1e-4, 1.0]), seed=st.integers(0, 99))
def test_local_response_norm(dtype: str, shape: tuple[int, ...], size: int, alpha: float, seed: int) -> None:
    module = torch.nn.LocalResponseNorm(size, alpha, 0.75, 2.0)
    compare(LocalResponseNorm("x", size, alpha, 0.75, 2.0), module, shape, dtype, seed, there=first, back=last)
