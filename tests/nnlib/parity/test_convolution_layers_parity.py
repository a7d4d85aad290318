"""Convolution and linear layers against PyTorch's modules: strides, padding by side, dilation, groups, transposed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.layer import INFERENCE, Layer
from nnlib.layers.linear import Linear
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.usefixtures("native_convolutions")]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
few = st.integers(1, 3)


def channels_first(array: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def taps_last(weight: Array) -> Array:
    """(taps..., one, other) as (one, other, taps...)."""
    return np.ascontiguousarray(np.moveaxis(weight, (-2, -1), (0, 1)))


def check_layer(layer: Layer, shape: tuple[int, ...], batch: int, dtype: str, theirs: Any, *, transposed: bool) -> None:
    """Output and all gradients of ``layer`` over samples of ``shape`` are those of ``theirs(x, weight, bias)``."""
    rng = np.random.default_rng(len(repr(layer)))
    x = rng.standard_normal((batch, *shape)).astype(dtype)
    parameters = {
        name: rng.standard_normal(size).astype(dtype) for name, size in layer.parameter_shapes((shape,)).items()
    }
    weight = taps_last(parameters["weight"])
    leaves = [channels_first(x), weight if transposed else weight.swapaxes(0, 1).copy()]
    leaves += [parameters["bias"]] if "bias" in parameters else []
    tensors = [torch.tensor(each, requires_grad=True) for each in leaves]
    expected = theirs(tensors[0], tensors[1], tensors[2] if len(tensors) == 3 else None)
    y, saved = layer.forward(parameters, (x,), INFERENCE)
    assert y.shape[1:] == layer.output_shape((shape,))
    check_same(y, np.moveaxis(expected.detach().numpy(), 1, -1), "y")
    grad_y = rng.standard_normal(y.shape).astype(dtype)
    expected.backward(torch.tensor(channels_first(grad_y)))
    (grad_x,), grads = layer.backward(parameters, saved, grad_y, (True,))
    assert grad_x is not None
    check_same(grad_x, np.moveaxis(tensors[0].grad.numpy(), 1, -1), "grad x")
    found = taps_last(grads["weight"])
    check_same(found if transposed else found.swapaxes(0, 1), tensors[1].grad.numpy(), "grad weight")
    assert grads.keys() == parameters.keys()
    if "bias" in parameters:
        check_same(grads["bias"], tensors[2].grad.numpy(), "grad bias")
    (nothing,), same = layer.backward(parameters, saved, grad_y, (False,))
    assert nothing is None
    np.testing.assert_array_equal(same["weight"], grads["weight"])


@dtypes
@examples
@given(
    groups=few, channels=st.tuples(few, few), kernel=st.tuples(few, few), stride=st.tuples(few, few),
    padding=st.tuples(few, few, st.integers(0, 2), st.integers(0, 2)), dilation=st.tuples(few, few),
    more=st.tuples(st.integers(0, 6), st.integers(0, 6)), bias=st.booleans(), batch=st.sampled_from([1, 3, 50]),
)  # fmt: skip
def test_conv2d(
    dtype: str,
    groups: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    more: tuple[int, int],
    bias: bool,
    batch: int,
) -> None:
    ins, outs = (groups * each for each in channels)
    layer = Conv2d("c", outs, kernel, stride, padding, bias, dilation, groups)
    top, bottom, left, right = padding
    shape = dilation[0] * (kernel[0] - 1) + 1 + more[0], dilation[1] * (kernel[1] - 1) + 1 + more[1], ins

    def theirs(x: Any, weight: Any, offset: Any) -> Any:
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, offset, stride, 0, dilation, groups)

    check_layer(layer, shape, batch, dtype, theirs, transposed=False)


@dtypes
@examples
@given(
    groups=few, channels=st.tuples(few, few), kernel=st.integers(1, 5), stride=few,
    padding=st.one_of(few, st.tuples(few, st.integers(0, 3))), dilation=few, more=st.integers(0, 20),
    bias=st.booleans(),
)  # fmt: skip
def test_conv1d(
    dtype: str,
    groups: int,
    channels: tuple[int, int],
    kernel: int,
    stride: int,
    padding: int | tuple[int, int],
    dilation: int,
    more: int,
    bias: bool,
) -> None:
    ins, outs = (groups * each for each in channels)
    layer = Conv1d("c", outs, kernel, stride, padding, bias, dilation, groups)
    sides = (padding, padding) if isinstance(padding, int) else padding

    def theirs(x: Any, weight: Any, offset: Any) -> Any:
        return F.conv1d(F.pad(x, sides), weight, offset, stride, 0, dilation, groups)

    check_layer(layer, (dilation * (kernel - 1) + 1 + more, ins), 4, dtype, theirs, transposed=False)


@dtypes
@examples
@given(
    groups=few, channels=st.tuples(few, few), kernel=st.tuples(few, few), stride=st.tuples(few, few),
    dilation=st.tuples(few, few), pixels=st.tuples(st.integers(1, 7), st.integers(1, 7)), bias=st.booleans(),
    padded=st.booleans(), more=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)  # fmt: skip
def test_conv_transpose2d(
    dtype: str,
    groups: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pixels: tuple[int, int],
    bias: bool,
    padded: bool,
    more: tuple[int, int],
) -> None:
    ins, outs = (groups * each for each in channels)
    padding = tuple(padded * (apart * (taps - 1) // 2) for apart, taps in zip(dilation, kernel, strict=True))
    output_padding = tuple(min(each, max(pair) - 1) for each, *pair in zip(more, stride, dilation, strict=True))
    around, behind = (padding[0], padding[1]), (output_padding[0], output_padding[1])
    layer = ConvTranspose2d("c", outs, kernel, stride, around, behind, bias, dilation, groups)

    def theirs(x: Any, weight: Any, offset: Any) -> Any:
        return F.conv_transpose2d(x, weight, offset, stride, padding, output_padding, groups, dilation)

    check_layer(layer, (*pixels, ins), 2, dtype, theirs, transposed=True)


@dtypes
@examples
@given(
    groups=few, channels=st.tuples(few, few), kernel=st.integers(1, 5), stride=few, dilation=few,
    steps=st.integers(1, 9), bias=st.booleans(), padded=st.booleans(), more=st.integers(0, 2),
)  # fmt: skip
def test_conv_transpose1d(
    dtype: str,
    groups: int,
    channels: tuple[int, int],
    kernel: int,
    stride: int,
    dilation: int,
    steps: int,
    bias: bool,
    padded: bool,
    more: int,
) -> None:
    ins, outs = (groups * each for each in channels)
    padding, output_padding = padded * (dilation * (kernel - 1) // 2), min(more, max(stride, dilation) - 1)
    layer = ConvTranspose1d("c", outs, kernel, stride, padding, output_padding, bias, dilation, groups)

    def theirs(x: Any, weight: Any, offset: Any) -> Any:
        return F.conv_transpose1d(x, weight, offset, stride, padding, output_padding, groups, dilation)

    check_layer(layer, (steps, ins), 3, dtype, theirs, transposed=True)


@dtypes
@examples
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), units=st.integers(1, 9), bias=st.booleans(),
    transposed=st.booleans(),
)  # fmt: skip
def test_linear_along_any_axes(dtype: str, shape: list[int], units: int, bias: bool, transposed: bool) -> None:
    layer = Linear("l", units, bias, transposed)
    rng = np.random.default_rng(units)
    x = rng.standard_normal((2, *shape)).astype(dtype)
    parameters = {
        name: rng.standard_normal(size).astype(dtype)
        for name, size in layer.parameter_shapes((tuple(shape),)).items()
    }  # fmt: skip
    weight = parameters["weight"] if transposed else parameters["weight"].T
    leaves = [torch.tensor(each, requires_grad=True) for each in (x, weight)]
    offset = torch.tensor(parameters["bias"], requires_grad=True) if bias else None
    expected = F.linear(*leaves, offset)
    y, saved = layer.forward(parameters, (x,), INFERENCE)
    check_same(y, expected.detach().numpy(), "y")
    grad_y = rng.standard_normal(y.shape).astype(dtype)
    expected.backward(torch.tensor(grad_y))
    (grad_x,), grads = layer.backward(parameters, saved, grad_y, (True,))
    assert grad_x is not None
    check_same(grad_x, leaves[0].grad.numpy(), "grad x")
    check_same(grads["weight"] if transposed else grads["weight"].T, leaves[1].grad.numpy(), "grad weight")
    if offset is not None:
        check_same(grads["bias"], offset.grad.numpy(), "grad bias")
