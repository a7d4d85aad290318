"""Convolution against loops over every output pixel, and the adjointness that its gradients rest on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.convolution import (
    Array,
    channel_sums,
    conv2d_forward,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    output_size,
)
from nnlib.ops.patches import col2im, im2col

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


@dataclass(frozen=True)
class Case:
    """Images of ``shape`` (B, H, W, Ni) under ``kernel`` to ``out_channels``."""

    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    out_channels: int
    stride: int
    padding: int
    dtype: str

    @property
    def window(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding}

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        rows, columns = (
            (length + 2 * self.padding - kernel) // self.stride + 1
            for length, kernel in zip(self.shape[1:3], self.kernel, strict=True)
        )
        return self.shape[0], rows, columns, self.out_channels

    def draw(self, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """Normal numbers of the case's dtype."""
        rng = np.random.default_rng(0)
        return tuple(rng.standard_normal(shape).astype(self.dtype) for shape in shapes)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small windows that fit, square or not, with images that the stride does not divide, padding 0 to 3."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = draw(st.integers(0, 3))
    height, width = (draw(st.integers(max(1, length - 2 * padding), 8)) for length in kernel)
    return Case(
        shape=(draw(st.sampled_from([1, 2, 3, 50])), height, width, draw(st.integers(1, 3))),
        kernel=kernel,
        out_channels=draw(st.integers(1, 4)),
        stride=draw(st.integers(1, 3)),
        padding=padding,
        dtype=draw(st.sampled_from(sorted(TOLERANCE))),
    )


def taps(case: Case) -> list[tuple[tuple[int, int, int], tuple[int, int], tuple[int, int, int]]]:
    """Output pixel, tap and image pixel (each with its sample) of every product that is not with padding."""
    batch, rows, columns, _ = case.out_shape
    found = []
    for b, r, c, i, j in product(*map(range, (batch, rows, columns, *case.kernel))):
        y, x = r * case.stride + i - case.padding, c * case.stride + j - case.padding
        if 0 <= y < case.shape[1] and 0 <= x < case.shape[2]:
            found.append(((b, r, c), (i, j), (b, y, x)))
    return found


def check(found: Array, expected: Array, case: Case) -> None:
    """Same shape and dtype; ``expected`` is computed in float64."""
    assert found.shape == expected.shape
    assert found.dtype == case.dtype
    scale = float(np.max(np.abs(expected))) or 1.0
    assert float(np.max(np.abs(found - expected))) <= TOLERANCE[case.dtype] * scale


@pytest.mark.numeric
@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_forward_is_the_sum_over_the_window(case: Case) -> None:
    weight_shape = (*case.kernel, case.shape[3], case.out_channels)
    x, weight, bias = case.draw(case.shape, weight_shape, (case.out_channels,))
    expected = np.zeros(case.out_shape)
    for out, tap, pixel in taps(case):
        expected[out] += x[pixel].astype(np.float64) @ weight[tap].astype(np.float64)
    check(conv2d_forward(x, weight, None, **case.window), expected, case)
    check(conv2d_forward(x, weight, bias, **case.window), expected + bias.astype(np.float64), case)


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_input_gradient_goes_back_through_every_tap(case: Case) -> None:
    weight, grad = case.draw((*case.kernel, case.shape[3], case.out_channels), case.out_shape)
    expected = np.zeros(case.shape)
    for out, tap, pixel in taps(case):
        expected[pixel] += weight[tap].astype(np.float64) @ grad[out].astype(np.float64)
    check(conv2d_input_gradient(grad, weight, case.shape, **case.window), expected, case)


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_weight_gradient_is_the_sum_over_all_pixels(case: Case) -> None:
    x, grad = case.draw(case.shape, case.out_shape)
    expected = np.zeros((*case.kernel, case.shape[3], case.out_channels))
    for out, tap, pixel in taps(case):
        expected[tap] += np.outer(x[pixel], grad[out]).astype(np.float64)
    check(conv2d_weight_gradient(grad, x, case.kernel, **case.window), expected, case)


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_im2col_lays_out_each_window_row_by_row(case: Case) -> None:
    (x,) = case.draw(case.shape)
    expected = np.zeros((*case.out_shape[:3], *case.kernel, case.shape[3]))
    for (b, r, c), tap, pixel in taps(case):
        expected[(b, r, c, *tap)] = x[pixel]
    np.testing.assert_array_equal(
        im2col(x, case.kernel, **case.window), expected.reshape(*case.out_shape[:3], -1), strict=False
    )


@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_col2im_is_the_adjoint_of_im2col(case: Case) -> None:
    depth = case.kernel[0] * case.kernel[1] * case.shape[3]
    x, patches = case.draw(case.shape, (*case.out_shape[:3], depth))
    x, patches = x.astype(np.float64), patches.astype(np.float64)
    spread = col2im(patches, case.shape, case.kernel, **case.window)
    assert spread.shape == case.shape
    left, right = float(np.vdot(spread, x)), float(np.vdot(patches, im2col(x, case.kernel, **case.window)))
    scale = float(np.linalg.norm(patches) * np.linalg.norm(x))
    assert abs(left - right) <= 1e-13 * scale


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 9)] * 4), dtype=st.sampled_from(sorted(TOLERANCE)))
def test_channel_sums_add_all_but_the_last_axis(shape: tuple[int, ...], dtype: str) -> None:
    grad = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    found = channel_sums(grad)
    assert (found.shape, found.dtype) == (shape[3:], np.dtype(dtype))
    expected = grad.astype(np.float64).sum(axis=(0, 1, 2))
    # the sum of magnitudes is what rounding is relative to: the sum itself may cancel
    scale = float(np.abs(grad).sum(axis=(0, 1, 2)).max())
    assert float(np.max(np.abs(found - expected))) <= TOLERANCE[dtype] * scale


@pytest.mark.numeric
@pytest.mark.parametrize("shape", [(5, 32, 33, 8), (3, 40, 41, 32)], ids=["several_chunks", "patches_not_kept"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_large_batch_is_its_samples_one_by_one(shape: tuple[int, int, int, int], stride: int) -> None:
    case = Case(shape=shape, kernel=(3, 3), out_channels=5, stride=stride, padding=1, dtype="float64")
    x, weight, grad = case.draw(case.shape, (3, 3, shape[3], 5), case.out_shape)
    singles = [slice(number, number + 1) for number in range(len(x))]
    forward = np.concatenate([conv2d_forward(x[one], weight, None, **case.window) for one in singles])
    one_shape = (1, *shape[1:])
    inputs = [conv2d_input_gradient(grad[one], weight, one_shape, **case.window) for one in singles]
    weights = np.sum([conv2d_weight_gradient(grad[one], x[one], (3, 3), **case.window) for one in singles], axis=0)
    check(conv2d_forward(x, weight, None, **case.window), forward, case)
    check(conv2d_input_gradient(grad, weight, case.shape, **case.window), np.concatenate(inputs), case)
    check(conv2d_weight_gradient(grad, x, (3, 3), **case.window), weights, case)


def test_arguments_are_left_as_they_were() -> None:
    case = Case(shape=(2, 5, 5, 2), kernel=(3, 3), out_channels=3, stride=1, padding=1, dtype="float64")
    arrays = case.draw(case.shape, (3, 3, 2, 3), (3,), case.out_shape)
    before = [array.copy() for array in arrays]
    x, weight, bias, grad = arrays
    conv2d_forward(x, weight, bias, **case.window)
    conv2d_input_gradient(grad, weight, case.shape, **case.window)
    conv2d_weight_gradient(grad, x, (3, 3), **case.window)
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "padding", "expected"),
    [
        (8, 3, 1, 1, 8),
        (8, 3, 1, 0, 6),
        (8, 3, 2, 0, 3),
        (9, 3, 2, 0, 4),
        (7, 3, 3, 1, 3),
        (3, 3, 5, 0, 1),
        (2, 3, 1, 0, 0),
    ],
)
def test_output_size(length: int, kernel: int, stride: int, padding: int, expected: int) -> None:
    assert output_size(length, kernel, stride, padding) == expected
