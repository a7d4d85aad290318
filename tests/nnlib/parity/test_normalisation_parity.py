"""Normalisations against PyTorch: outputs, statistics and all gradients, in any memory order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.group_normalisation import (
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
    rms_norm_backward,
    rms_norm_forward,
)
from nnlib.ops.local_response import local_response_norm_backward, local_response_norm_forward
from nnlib.ops.normalisation import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch: Any = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 1 << 20)
epsilons = st.sampled_from([1e-5, 1e-3, 0.1])


@st.composite
def arrays(draw: st.DrawFn, *, least_count: int = 1) -> tuple[int, ...]:
    """Shapes (B, ..., C) with none to three axes between, batch 1 included."""
    shape = (draw(st.integers(1, 6)), *draw(st.lists(st.integers(1, 7), max_size=3)), draw(st.integers(1, 21)))
    short = int(np.prod(shape[:-1])) < least_count
    return (shape[0] + least_count, *shape[1:]) if short else shape


@st.composite
def orders(draw: st.DrawFn) -> list[int]:
    """In which order six or fewer axes lie in memory."""
    return draw(st.permutations(range(6)))


def ordered(x: Array, order: list[int]) -> Array:
    """The same numbers, lying in memory in another order of axes."""
    axes = [axis for axis in order if axis < x.ndim]
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def lies(x: Array) -> list[int]:
    """Strides of the axes that have some."""
    return [stride for stride, length in zip(x.strides, x.shape, strict=True) if length > 1]


def normal(seed: int, dtype: str, *shapes: tuple[int, ...], around: float = 0.0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(shape) + around).astype(dtype) for shape in shapes]


def leaf(array: Array) -> Any:
    return torch.tensor(np.ascontiguousarray(array), requires_grad=True)


def first(x: Array) -> Array:
    """Channels behind the batch."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 1 else x


def last(theirs: Any) -> Array:
    """PyTorch's with the channels at the end."""
    return np.moveaxis(theirs.detach().numpy(), 1, -1)


def check_gradient(found: Array, theirs: Array, scale: float, what: str) -> None:
    """As ``check_same``; a gradient that cancels to nothing may be off by its parts' rounding."""
    assert (found.shape, found.dtype) == (theirs.shape, theirs.dtype), what
    limit = TOLERANCE[theirs.dtype.name]
    error = np.max(np.abs(found - theirs), initial=0.0)
    assert error <= limit * max(np.max(np.abs(theirs), initial=0.0), scale), (what, error)


@dtypes
@examples
@given(
    shape=arrays(least_count=2),
    order=orders(),
    grad_order=orders(),
    affine=st.booleans(),
    around=st.sampled_from([0.0, 3.0, -50.0]),
    epsilon=epsilons,
    momentum=st.sampled_from([0.1, 0.01, 1.0]),
    seed=seeds,
)
def test_batch_norm_in_training(
    dtype: str,
    shape: tuple[int, ...],
    order: list[int],
    grad_order: list[int],
    affine: bool,
    around: float,
    epsilon: float,
    momentum: float,
    seed: int,
) -> None:
    channels = shape[-1]
    (x,) = normal(seed, dtype, shape, around=around)
    grad, gamma, beta, mean, variance = normal(seed + 1, dtype, shape, *4 * [(channels,)])
    variance = np.abs(variance)
    their_mean, their_variance = torch.tensor(mean), torch.tensor(variance)
    their_x, their_gamma, their_beta = leaf(first(x)), leaf(gamma), leaf(beta)
    expected = F.batch_norm(
        their_x,
        their_mean,
        their_variance,
        their_gamma if affine else None,
        their_beta if affine else None,
        training=True,
        momentum=momentum,
        eps=epsilon,
    )
    expected.backward(torch.tensor(first(grad)))

    x, grad = ordered(x, order), ordered(grad, grad_order)
    given_gamma, given_beta = (gamma, beta) if affine else (None, None)
    y, statistics = batch_norm_forward(x, given_gamma, given_beta, epsilon=epsilon)
    # two numbers far from zero and close to each other: what their difference has lost when they were rounded
    lost = float(np.max(np.abs(x))) * float(np.max(statistics.inverse_deviation)) * float(np.finfo(dtype).eps)
    check_same(y, last(expected), "y", tolerance=max(TOLERANCE[dtype], 4.0 * lost))
    new_mean, new_variance = statistics.running(mean, variance, momentum=momentum)
    check_same(new_mean, their_mean.numpy(), "running mean")
    check_same(new_variance, their_variance.numpy(), "running variance")
    grad_x, grad_gamma, grad_beta = batch_norm_backward(grad, x, given_gamma, statistics)
    scale = float(np.max(np.abs(gamma if affine else 1)) * np.max(statistics.inverse_deviation))
    check_gradient(grad_x, last(their_x.grad), scale * np.max(np.abs(grad)), "grad x")
    if affine:
        check_gradient(grad_gamma, their_gamma.grad.numpy(), np.max(np.abs(grad)), "grad gamma")
        check_same(grad_beta, their_beta.grad.numpy(), "grad beta")


@dtypes
@examples
@given(shape=arrays(), order=orders(), affine=st.booleans(), epsilon=epsilons, seed=seeds)
def test_batch_norm_in_inference(
    dtype: str, shape: tuple[int, ...], order: list[int], affine: bool, epsilon: float, seed: int
) -> None:
    x, grad, gamma, beta, mean, variance = normal(seed, dtype, shape, shape, *4 * [shape[-1:]])
    variance = np.abs(variance)
    their_x, their_gamma, their_beta = leaf(first(x)), leaf(gamma), leaf(beta)
    expected = F.batch_norm(
        their_x,
        torch.tensor(mean),
        torch.tensor(variance),
        their_gamma if affine else None,
        their_beta if affine else None,
        training=False,
        eps=epsilon,
    )
    expected.backward(torch.tensor(first(grad)))
    x = ordered(x, order)
    given_gamma, given_beta = (gamma, beta) if affine else (None, None)
    y = batch_norm_inference(x, given_gamma, given_beta, mean=mean, variance=variance, epsilon=epsilon)
    check_same(y, last(expected), "y")
    grad_x, grad_gamma, grad_beta = batch_norm_inference_backward(
        grad, x, given_gamma, mean=mean, variance=variance, epsilon=epsilon
    )
    check_same(grad_x, last(their_x.grad), "grad x")
    if affine:
        check_same(grad_gamma, their_gamma.grad.numpy(), "grad gamma")
        check_same(grad_beta, their_beta.grad.numpy(), "grad beta")


@dtypes
@pytest.mark.parametrize(
    "shape", [(8, 28, 28, 64), (64, 9, 11, 130), (1, 57, 61, 31), (3, 1, 1, 2048), (200, 5, 3, 40), (37, 640)]
)
@pytest.mark.parametrize("batch_last", [False, True])
def test_batch_norm_of_large_arrays(dtype: str, shape: tuple[int, ...], batch_last: bool) -> None:
    """Arrays of several blocks, whatever lies innermost; a channel may lie anywhere."""
    (x,) = normal(0, dtype, shape)
    grad, gamma, beta = normal(1, dtype, shape, shape[-1:], shape[-1:])
    x += np.linspace(-20, 20, shape[-1], dtype=dtype)
    their_x, their_gamma, their_beta = leaf(first(x)), leaf(gamma), leaf(beta)
    expected = F.batch_norm(their_x, None, None, their_gamma, their_beta, training=True, eps=1e-5)
    expected.backward(torch.tensor(first(grad)))
    if batch_last:
        x, grad = (ordered(each, [*range(1, x.ndim), 0]) for each in (x, grad))
    y, statistics = batch_norm_forward(x, gamma, beta, epsilon=1e-5)
    assert lies(y) == lies(x)
    check_same(y, last(expected), "y")
    grad_x, grad_gamma, grad_beta = batch_norm_backward(grad, x, gamma, statistics)
    assert lies(grad_x) == lies(x)
    check_same(grad_x, last(their_x.grad), "grad x")
    check_same(grad_gamma, their_gamma.grad.numpy(), "grad gamma")
    check_same(grad_beta, their_beta.grad.numpy(), "grad beta")


@dtypes
@examples
@given(shape=arrays(), axes=st.integers(1, 4), order=orders(), affine=st.booleans(), epsilon=epsilons, seed=seeds)
def test_layer_norm(
    dtype: str, shape: tuple[int, ...], axes: int, order: list[int], affine: bool, epsilon: float, seed: int
) -> None:
    axes = min(axes, len(shape) - 1)
    shape = (*shape[:-1], shape[-1] + 2)  # of one number nothing is left but how PyTorch rounds
    over = shape[len(shape) - axes :]
    x, grad, gamma, beta = normal(seed, dtype, shape, shape, over, over)
    their_x, their_gamma, their_beta = leaf(x), leaf(gamma), leaf(beta)
    expected = F.layer_norm(their_x, over, their_gamma if affine else None, their_beta if affine else None, eps=epsilon)
    expected.backward(torch.tensor(grad))
    x = ordered(x, order)
    given_gamma, given_beta = (gamma, beta) if affine else (None, None)
    y, statistics = layer_norm_forward(x, given_gamma, given_beta, axes=axes, epsilon=epsilon)
    check_gradient(y, expected.detach().numpy(), 1e-2, "y")
    grad_x, grad_gamma, grad_beta = layer_norm_backward(grad, x, given_gamma, statistics, axes=axes)
    scale = float(np.max(np.abs(grad)) * np.max(statistics.inverse_deviation))
    check_gradient(grad_x, their_x.grad.numpy(), scale, "grad x")
    if affine:
        check_gradient(grad_gamma, their_gamma.grad.numpy(), np.max(np.abs(grad)), "grad gamma")
        check_same(grad_beta, their_beta.grad.numpy(), "grad beta")


@dtypes
@examples
@given(shape=arrays(), axes=st.integers(1, 4), order=orders(), affine=st.booleans(), epsilon=epsilons, seed=seeds)
def test_rms_norm(
    dtype: str, shape: tuple[int, ...], axes: int, order: list[int], affine: bool, epsilon: float, seed: int
) -> None:
    axes = min(axes, len(shape) - 1)
    over = shape[len(shape) - axes :]
    x, grad, gamma = normal(seed, dtype, shape, shape, over)
    their_x, their_gamma = leaf(x), leaf(gamma)
    expected = F.rms_norm(their_x, over, their_gamma if affine else None, eps=epsilon)
    expected.backward(torch.tensor(grad))
    x = ordered(x, order)
    y, statistics = rms_norm_forward(x, gamma if affine else None, axes=axes, epsilon=epsilon)
    check_same(y, expected.detach().numpy(), "y")
    grad_x, grad_gamma = rms_norm_backward(grad, x, gamma if affine else None, statistics, axes=axes)
    scale = float(np.max(np.abs(grad)) * np.max(statistics.inverse_deviation))
    check_gradient(grad_x, their_x.grad.numpy(), scale, "grad x")
    if affine:
        check_same(grad_gamma, their_gamma.grad.numpy(), "grad gamma")


@dtypes
@pytest.mark.parametrize("instance", [False, True], ids=["groups", "instance"])
@examples
@given(
    shape=arrays(),
    of_each=st.integers(1, 5),
    around=st.sampled_from([0.0, 5.0]),
    order=orders(),
    affine=st.booleans(),
    epsilon=epsilons,
    seed=seeds,
)
def test_group_norm(
    dtype: str,
    instance: bool,
    shape: tuple[int, ...],
    of_each: int,
    around: float,
    order: list[int],
    affine: bool,
    epsilon: float,
    seed: int,
) -> None:
    groups = min(shape[-1], 6)
    of_each = 1 if instance else of_each
    # of one number or two there is nothing left after their mean but rounding, which PyTorch does another way
    several = () if int(np.prod(shape[1:-1])) * of_each > 2 else (3,)
    shape = (shape[0], *several, *shape[1:-1], groups * of_each)
    (x,) = normal(seed, dtype, shape, around=around)
    grad, gamma, beta = normal(seed + 1, dtype, shape, shape[-1:], shape[-1:])
    # PyTorch's fp32 variance is a difference of squares: far from zero it has to be fp64 to compare with
    wide = "float64" if around else dtype
    their_x, their_gamma, their_beta = (leaf(each.astype(wide)) for each in (first(x), gamma, beta))
    expected = F.group_norm(
        their_x, groups, their_gamma if affine else None, their_beta if affine else None, eps=epsilon
    )
    if instance:
        theirs = F.instance_norm(
            their_x, weight=their_gamma if affine else None, bias=their_beta if affine else None, eps=epsilon
        )
        check_gradient(last(theirs), last(expected), 1.0, "instance normalisation is a group per channel")
        expected = theirs
    expected.backward(torch.tensor(first(grad).astype(wide)))
    x = ordered(x, order)
    given_gamma, given_beta = (gamma, beta) if affine else (None, None)
    y, statistics = group_norm_forward(x, given_gamma, given_beta, groups=groups, epsilon=epsilon)
    # what is left of numbers far from zero after their mean, where the rest is small
    lost = float(np.max(np.abs(x)) * np.max(statistics.inverse_deviation)) * float(np.finfo(dtype).eps)
    check_gradient(y, last(expected).astype(dtype), max(0.1, 4 * lost / TOLERANCE[dtype]), "y")
    grad_x, grad_gamma, grad_beta = group_norm_backward(grad, x, given_gamma, statistics, groups=groups)
    scale = float(np.max(np.abs(grad)) * np.max(statistics.inverse_deviation))
    check_gradient(grad_x, last(their_x.grad).astype(dtype), scale, "grad x")
    if affine:
        check_gradient(grad_gamma, their_gamma.grad.numpy().astype(dtype), np.max(np.abs(grad)), "grad gamma")
        check_same(grad_beta, their_beta.grad.numpy().astype(dtype), "grad beta")


@dtypes
@examples
@given(
    shape=arrays(),
    size=st.integers(1, 8),
    alpha=st.sampled_from([1e-4, 0.5, 2.0]),
    beta=st.sampled_from([0.75, 0.5, 1.0, 0.3]),
    k=st.sampled_from([1.0, 2.0]),
    order=orders(),
    seed=seeds,
)
def test_local_response_norm(
    dtype: str,
    shape: tuple[int, ...],
    size: int,
    alpha: float,
    beta: float,
    k: float,
    order: list[int],
    seed: int,
) -> None:
    shape = (shape[0], 2, *shape[1:])  # PyTorch wants at least three axes
    x, grad = normal(seed, dtype, shape, shape)
    their_x = leaf(first(x))
    expected = F.local_response_norm(their_x, size, alpha, beta, k)
    expected.backward(torch.tensor(first(grad)))
    x = ordered(x, order)
    y, scale = local_response_norm_forward(x, size=size, alpha=alpha, beta=beta, k=k)
    check_same(y, last(expected), "y")
    grad_x = local_response_norm_backward(grad, x, scale, size=size, alpha=alpha, beta=beta)
    check_same(grad_x, last(their_x.grad), "grad x")
