"""Pooling against PyTorch over random shapes: maxima, means and bins of sequences and images, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnlib.ops.adaptive_pooling import (
    adaptive_average_backward,
    adaptive_average_forward,
    adaptive_max_backward,
    adaptive_max_forward,
)
from nnlib.ops.average_pooling import (
    average_pool_backward,
    average_pool_forward,
    global_average_backward,
    global_average_forward,
)
from nnlib.ops.pool_axis import pool_axes
from nnlib.ops.pooling import global_max_backward, global_max_forward, max_pool_backward, max_pool_forward
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)


@dataclass(frozen=True)
class Pooled:
    """Images or sequences of ``shape`` under windows of so much along each axis of their pixels."""

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool
    seed: int
    order: tuple[int, ...]


@st.composite
def pooled(draw: st.DrawFn, *, dilated: bool = False) -> Pooled:
    """Windows that fit, apart or overlapping, on arrays that lie in memory in any order."""
    axes = draw(st.integers(1, 2))

    def each(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(values) for _ in range(axes))

    kernel = each(st.integers(1, 4))
    dilation = each(st.integers(1, 3)) if dilated else (1,) * axes
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    pixels = tuple(
        draw(st.integers(max(1, apart * (size - 1) + 1 - 2 * pad), 12))
        for size, pad, apart in zip(kernel, padding, dilation, strict=True)
    )
    shape = (draw(st.integers(1, 4)), *pixels, draw(st.integers(1, 5)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    stride, ceil_mode = each(st.integers(1, 4)), draw(st.booleans())
    # PyTorch reads and writes outside its arrays where a dilated window has no pixel
    assume(_all_met(shape, kernel, stride, padding, dilation, ceil_mode))
    return Pooled(shape, kernel, stride, padding, dilation, ceil_mode, draw(st.integers(0, 99)), order)


def _all_met(*windows: object) -> bool:
    *sizes, ceil_mode = windows
    try:
        pool_axes(*sizes, ceil_mode=ceil_mode)
    except ValueError:
        return False
    return True


def data(case: Pooled, dtype: str, *, ties: bool) -> Array:
    rng = np.random.default_rng(case.seed)
    numbers = rng.integers(-2, 3, case.shape) if ties else rng.standard_normal(case.shape)
    back = np.argsort(case.order)
    return np.ascontiguousarray(numbers.astype(dtype).transpose(case.order)).transpose(back)


def theirs(x: Array) -> torch.Tensor:
    """Channels first."""
    return torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def ours(x: torch.Tensor) -> Array:
    return np.moveaxis(x.detach().numpy(), 1, -1)


def check(
    x: Array, y: Array, backward: Callable[[Array], Array], function: Callable[[torch.Tensor], torch.Tensor], seed: int
) -> None:
    """Output and gradient are PyTorch's ``function``'s."""
    grad = np.random.default_rng(seed + 1).standard_normal(y.shape).astype(x.dtype)
    leaf = theirs(x).requires_grad_()
    expected = function(leaf)
    expected.backward(theirs(grad))
    check_same(y, ours(expected), "y")
    check_same(backward(grad), ours(leaf.grad), "grad x")


@dtypes
@examples
@given(case=pooled(dilated=True), ties=st.booleans())
def test_max_pool(dtype: str, case: Pooled, ties: bool) -> None:
    x = data(case, dtype, ties=ties)
    options = {"padding": case.padding, "dilation": case.dilation, "ceil_mode": case.ceil_mode}
    function = F.max_pool1d if len(case.kernel) == 1 else F.max_pool2d
    check(
        x,
        max_pool_forward(x, case.kernel, case.stride, **options),
        lambda grad: max_pool_backward(x, grad, case.kernel, case.stride, **options),
        lambda leaf: function(leaf, case.kernel, case.stride, **options),
        case.seed,
    )


@dtypes
@examples
@given(case=pooled(), count_include_pad=st.booleans(), divisor=st.sampled_from([None, None, 3]))
def test_average_pool(dtype: str, case: Pooled, count_include_pad: bool, divisor: int | None) -> None:
    x = data(case, dtype, ties=False)
    options = {"padding": case.padding, "ceil_mode": case.ceil_mode, "count_include_pad": count_include_pad}
    ours_only = {} if len(case.kernel) == 1 else {"divisor": divisor}
    more = {} if len(case.kernel) == 1 else {"divisor_override": divisor}
    function = F.avg_pool1d if len(case.kernel) == 1 else F.avg_pool2d
    check(
        x,
        average_pool_forward(x, case.kernel, case.stride, **options, **ours_only),
        lambda grad: average_pool_backward(grad, x.shape, case.kernel, case.stride, **options, **ours_only),
        lambda leaf: function(leaf, case.kernel, case.stride, **options, **more),
        case.seed,
    )


@dtypes
@examples
@given(case=pooled(), size=st.tuples(st.integers(1, 9), st.integers(1, 9)), ties=st.booleans())
def test_adaptive_pools(dtype: str, case: Pooled, size: tuple[int, int], ties: bool) -> None:
    x = data(case, dtype, ties=ties)
    wanted = size[: len(case.kernel)]
    average, largest = (
        (F.adaptive_avg_pool1d, F.adaptive_max_pool1d)
        if len(wanted) == 1
        else (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
    )
    check(
        x,
        adaptive_average_forward(x, wanted),
        lambda grad: adaptive_average_backward(grad, x.shape),
        lambda leaf: average(leaf, wanted),
        case.seed,
    )
    check(
        x,
        adaptive_max_forward(x, wanted),
        lambda grad: adaptive_max_backward(x, grad),
        lambda leaf: largest(leaf, wanted),
        case.seed,
    )


@dtypes
@examples
@given(case=pooled(), ties=st.booleans())
def test_global_pools(dtype: str, case: Pooled, ties: bool) -> None:
    x = data(case, dtype, ties=ties)
    average, largest = (
        (F.adaptive_avg_pool1d, F.adaptive_max_pool1d)
        if x.ndim == 3
        else (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
    )
    check(
        x,
        global_average_forward(x, keepdims=True),
        lambda grad: global_average_backward(grad, x.shape),
        lambda leaf: average(leaf, 1),
        case.seed,
    )
    check(
        x,
        global_max_forward(x, keepdims=True),
        lambda grad: global_max_backward(x, grad),
        lambda leaf: largest(leaf, 1),
        case.seed,
    )
    flat = (len(x), x.shape[-1])
    assert np.array_equal(global_average_forward(x), global_average_forward(x, keepdims=True).reshape(flat))
    assert np.array_equal(global_max_forward(x), global_max_forward(x, keepdims=True).reshape(flat))
