"""Convolutions of every kind against PyTorch: strides, padding by side, dilation and groups, forward and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnlib.ops.conv_1d import conv1d_forward, conv1d_input_gradient, conv1d_weight_gradient
from nnlib.ops.conv_transpose import (
    conv_transpose1d_forward,
    conv_transpose1d_input_gradient,
    conv_transpose1d_weight_gradient,
    conv_transpose2d_forward,
    conv_transpose2d_input_gradient,
    conv_transpose2d_weight_gradient,
)
from nnlib.ops.convolution import (
    channel_sums,
    conv2d_forward,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    kept_patches,
)
from nnlib.ops.linear import linear_forward, linear_input_gradient, linear_weight_gradient
from tests.nnlib.parity import TOLERANCE, Array, check_same, hwio, nchw, nhwc, oihw

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.usefixtures("native_convolutions")]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=40, deadline=None)


@dataclass(frozen=True)
class Case:
    """A two-dimensional convolution; ``padding`` is top, bottom, left, right."""

    batch: int
    pixels: tuple[int, int]
    channels: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, *self.pixels, self.groups * self.channels[0]

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return *self.kernel, self.channels[0], self.groups * self.channels[1]

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}


LARGE = Case(9, (37, 40), (20, 33), (3, 3), (1, 1), (1, 1, 1, 1))
BATCH_LAST = Case(70, (9, 8), (3, 5), (3, 2), (2, 1), (1, 0, 2, 1), (1, 2))
DEPTHWISE = Case(3, (31, 30), (1, 1), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 96)
GROUPED = Case(4, (19, 21), (4, 4), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 32)
ONE_TAP = Case(3, (28, 29), (64, 48), (1, 1), (2, 2))
WIDE = Case(3, (15, 14), (192, 250), (3, 3), (1, 1), (1, 1, 1, 1))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Kernels that fit, every option for rows and columns apart."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    top, bottom, left, right = (draw(st.integers(0, 3)) for _ in range(4))
    least = [
        max(1, apart * (taps - 1) + 1 - around)
        for apart, taps, around in zip(dilation, kernel, (top + bottom, left + right), strict=True)
    ]
    return Case(
        batch=draw(st.sampled_from([1, 2, 3, 70])),
        pixels=(draw(st.integers(least[0], 14)), draw(st.integers(least[1], 14))),
        channels=(draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        kernel=kernel,
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=(top, bottom, left, right),
        dilation=dilation,
        groups=draw(st.sampled_from([1, 1, 2, 3, 12])),
    )


def normal(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def reordered(array: Array, order: str) -> Array:
    """The same numbers in another order of memory."""
    match order:
        case "batch last":
            return np.ascontiguousarray(np.moveaxis(array, 0, -1)).transpose(array.ndim - 1, *range(array.ndim - 1))
        case "channels first":
            return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 1)), 1, -1)
        case "every other":
            return np.repeat(array, 2, axis=-1)[..., ::2]
        case _:
            return array


orders = st.sampled_from(["channels last", "batch last", "channels first", "every other"])


def leaf(array: Array) -> Any:
    """A tensor whose gradient is wanted."""
    return torch.tensor(array, requires_grad=True)


@dtypes
@examples
@given(case=cases(), order=orders, seed=st.integers(0, 99))
@example(case=LARGE, order="channels last", seed=0)
@example(case=BATCH_LAST, order="channels last", seed=0)
@example(case=DEPTHWISE, order="channels last", seed=0)
@example(case=GROUPED, order="channels last", seed=0)
@example(case=ONE_TAP, order="channels first", seed=0)
@example(case=WIDE, order="channels last", seed=0)
def test_conv2d(dtype: str, case: Case, order: str, seed: int) -> None:
    x, weight, bias = normal(seed, dtype, case.x_shape, case.weight_shape, case.weight_shape[3:])
    theirs = leaf(nchw(x)), leaf(oihw(weight)), leaf(bias)
    top, bottom, left, right = case.padding
    expected = F.conv2d(
        F.pad(theirs[0], (left, right, top, bottom)), *theirs[1:],
        stride=case.stride, dilation=case.dilation, groups=case.groups,
    )  # fmt: skip
    x = reordered(x, order)
    patches = kept_patches(x, case.kernel, **case.options)
    y = conv2d_forward(x, weight, bias, **case.options, patches=patches)
    check_same(y, nhwc(expected.detach().numpy()), "y")
    (grad_y,) = normal(seed + 1, dtype, y.shape)
    expected.backward(torch.tensor(nchw(grad_y)))
    grad_y = reordered(grad_y, order)
    grad_x = conv2d_input_gradient(grad_y, weight, case.x_shape, **case.options)
    check_same(grad_x, nhwc(theirs[0].grad.numpy()), "grad x")
    for known in (None, patches):
        grad_weight = conv2d_weight_gradient(grad_y, x, case.kernel, **case.options, patches=known)
        check_same(grad_weight, hwio(theirs[1].grad.numpy()), "grad weight")
    check_same(channel_sums(grad_y), theirs[2].grad.numpy(), "grad bias")


@dtypes
@examples
@given(case=cases(), order=orders, seed=st.integers(0, 99))
def test_conv1d(dtype: str, case: Case, order: str, seed: int) -> None:
    _, _, before, behind = case.padding
    options: dict[str, Any] = {
        "stride": case.stride[1], "padding": (before, behind), "dilation": case.dilation[1], "groups": case.groups
    }  # fmt: skip
    batch, _, steps, channels = case.x_shape
    x, weight, bias = normal(seed, dtype, (batch, steps, channels), case.weight_shape[1:], case.weight_shape[3:])
    theirs = leaf(np.moveaxis(x, 2, 1).copy()), leaf(weight.transpose(2, 1, 0).copy()), leaf(bias)
    expected = F.conv1d(
        F.pad(theirs[0], (before, behind)), *theirs[1:],
        stride=case.stride[1], dilation=case.dilation[1], groups=case.groups,
    )  # fmt: skip
    x = reordered(x, order)
    y = conv1d_forward(x, weight, bias, **options)
    check_same(y, expected.detach().numpy().transpose(0, 2, 1), "y")
    (grad_y,) = normal(seed + 1, dtype, y.shape)
    expected.backward(torch.tensor(grad_y.transpose(0, 2, 1).copy()))
    grad_y = reordered(grad_y, order)
    check_same(
        conv1d_input_gradient(grad_y, weight, x.shape, **options), theirs[0].grad.numpy().transpose(0, 2, 1), "grad x"
    )
    check_same(
        conv1d_weight_gradient(grad_y, x, case.kernel[1], **options),
        theirs[1].grad.numpy().transpose(2, 1, 0),
        "grad weight",
    )
    check_same(channel_sums(grad_y), theirs[2].grad.numpy(), "grad bias")


@st.composite
def transposed(draw: st.DrawFn) -> tuple[Case, tuple[int, int]]:
    """A transposed convolution whose output is not empty, and its output padding, below stride or dilation."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, apart * (taps - 1) // 2)) for apart, taps in zip(dilation, kernel, strict=True))
    more = tuple(draw(st.integers(0, max(pair) - 1)) for pair in zip(stride, dilation, strict=True))
    case = Case(
        batch=draw(st.sampled_from([1, 2, 3, 70])),
        pixels=(draw(st.integers(1, 9)), draw(st.integers(1, 9))),
        channels=(draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        kernel=kernel,
        stride=stride,
        padding=(padding[0], padding[0], padding[1], padding[1]),
        dilation=dilation,
        groups=draw(st.sampled_from([1, 1, 2, 3, 12])),
    )
    return case, (more[0], more[1])


@dtypes
@examples
@given(drawn=transposed(), order=orders, seed=st.integers(0, 99))
def test_conv_transpose2d(dtype: str, drawn: tuple[Case, tuple[int, int]], order: str, seed: int) -> None:
    case, more = drawn
    weight_shape = *case.kernel, case.x_shape[3], case.channels[1]
    x, weight, bias = normal(seed, dtype, case.x_shape, weight_shape, (case.groups * case.channels[1],))
    theirs = leaf(nchw(x)), leaf(weight.transpose(2, 3, 0, 1).copy()), leaf(bias)
    expected = F.conv_transpose2d(
        *theirs, case.stride, case.padding[::2], more, case.groups, case.dilation,
    )  # fmt: skip
    x = reordered(x, order)
    options = case.options | {"output_padding": more}
    y = conv_transpose2d_forward(x, weight, bias, **options)
    check_same(y, nhwc(expected.detach().numpy()), "y")
    (grad_y,) = normal(seed + 1, dtype, y.shape)
    expected.backward(torch.tensor(nchw(grad_y)))
    grad_y = reordered(grad_y, order)
    grad_x = conv_transpose2d_input_gradient(grad_y, weight, **options)
    check_same(grad_x, nhwc(theirs[0].grad.numpy()), "grad x")
    grad_weight = conv_transpose2d_weight_gradient(grad_y, x, case.kernel, **options)
    check_same(grad_weight, theirs[1].grad.numpy().transpose(2, 3, 0, 1), "grad weight")
    check_same(channel_sums(grad_y), theirs[2].grad.numpy(), "grad bias")


@dtypes
@examples
@given(drawn=transposed(), order=orders, seed=st.integers(0, 99))
def test_conv_transpose1d(dtype: str, drawn: tuple[Case, tuple[int, int]], order: str, seed: int) -> None:
    case, (_, more) = drawn
    weight_shape = case.kernel[1], case.x_shape[3], case.channels[1]
    x, weight, bias = normal(seed, dtype, case.x_shape[1:], weight_shape, (case.groups * case.channels[1],))
    theirs = leaf(x.transpose(0, 2, 1).copy()), leaf(weight.transpose(1, 2, 0).copy()), leaf(bias)
    stride, padding, dilation = case.stride[1], case.padding[2], case.dilation[1]
    expected = F.conv_transpose1d(*theirs, stride, padding, more, case.groups, dilation)
    x = reordered(x, order)
    options: dict[str, Any] = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": case.groups, "output_padding": more
    }  # fmt: skip
    y = conv_transpose1d_forward(x, weight, bias, **options)
    check_same(y, expected.detach().numpy().transpose(0, 2, 1), "y")
    (grad_y,) = normal(seed + 1, dtype, y.shape)
    expected.backward(torch.tensor(grad_y.transpose(0, 2, 1).copy()))
    grad_y = reordered(grad_y, order)
    grad_x = conv_transpose1d_input_gradient(grad_y, weight, **options)
    check_same(grad_x, theirs[0].grad.numpy().transpose(0, 2, 1), "grad x")
    grad_weight = conv_transpose1d_weight_gradient(grad_y, x, case.kernel[1], **options)
    check_same(grad_weight, theirs[1].grad.numpy().transpose(2, 0, 1), "grad weight")


@dtypes
@examples
@given(
    axes=st.lists(st.integers(1, 5), max_size=3),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 23)),
    is_transposed=st.booleans(),
    order=orders,
    seed=st.integers(0, 99),
)
def test_linear(
    dtype: str, axes: list[int], sizes: tuple[int, int], is_transposed: bool, order: str, seed: int
) -> None:
    features, units = sizes
    x, weight, bias = normal(seed, dtype, (*axes, features), (units, features), (units,))
    theirs = leaf(x), leaf(weight), leaf(bias)
    expected = F.linear(*theirs)
    if order == "every other" or len(axes) > 0:
        x = reordered(x, order)
    ours = weight if is_transposed else weight.T
    y = linear_forward(x, ours, bias, transposed=is_transposed)
    check_same(y, expected.detach().numpy(), "y")
    (grad_y,) = normal(seed + 1, dtype, y.shape)
    expected.backward(torch.tensor(grad_y))
    check_same(linear_input_gradient(grad_y, ours, transposed=is_transposed), theirs[0].grad.numpy(), "grad x")
    grad_weight = linear_weight_gradient(grad_y, x, transposed=is_transposed)
    check_same(grad_weight if is_transposed else grad_weight.T, theirs[1].grad.numpy(), "grad weight")
    check_same(channel_sums(grad_y), theirs[2].grad.numpy(), "grad bias")
