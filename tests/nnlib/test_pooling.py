"""Max pooling against loops over every window, ties included."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.pooling import Array, max_pool_backward, max_pool_forward


@st.composite
def images(draw: st.DrawFn) -> tuple[Array, tuple[int, int], int]:
    """Images of few different values, so that ties are everywhere, with a kernel that fits and a stride."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(kernel[0], 9)),
        draw(st.integers(kernel[1], 9)),
        draw(st.integers(1, 3)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    values = draw(st.sampled_from([1, 2, 3, 1000]))
    x = rng.integers(-values, values, shape).astype(draw(st.sampled_from(["float64", "float32"])))
    return x, kernel, draw(st.integers(1, 4))


def naive(x: Array, grad: Array | None, kernel: tuple[int, int], stride: int) -> tuple[Array, Array]:
    """Maxima and the gradient: a pixel takes a window only if it is larger than all before it."""
    batch, height, width, channels = x.shape
    rows, columns = (height - kernel[0]) // stride + 1, (width - kernel[1]) // stride + 1
    y = np.zeros((batch, rows, columns, channels))
    grad_x = np.zeros(x.shape)
    for b, r, c, channel in product(*map(range, y.shape)):
        best = (r * stride, c * stride)
        for i, j in product(*map(range, kernel)):
            pixel = (r * stride + i, c * stride + j)
            if x[b, *pixel, channel] > x[b, *best, channel]:
                best = pixel
        y[b, r, c, channel] = x[b, *best, channel]
        if grad is not None:
            grad_x[b, *best, channel] += grad[b, r, c, channel]
    return y, grad_x


@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(case=images())
def test_the_first_maximum_row_by_row_gets_the_gradient(case: tuple[Array, tuple[int, int], int]) -> None:
    x, kernel, stride = case
    y = max_pool_forward(x, kernel, stride)
    # whole numbers: sums in overlapping windows are exact in any order
    grad = np.random.default_rng(1).integers(-9, 9, y.shape).astype(x.dtype)
    kept = x.copy(), grad.copy()
    grad_x = max_pool_backward(x, grad, kernel, stride)
    expected_y, expected_grad = naive(x, grad, kernel, stride)
    assert y.dtype == grad_x.dtype == x.dtype
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(grad_x, expected_grad)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(grad, kept[1])


def test_ties_by_hand() -> None:
    x = np.array([[1.0, 5.0, 5.0], [5.0, 5.0, 0.0]]).reshape(1, 2, 3, 1)
    grad = np.array([10.0, 1.0]).reshape(1, 1, 2, 1)
    found = max_pool_backward(x, grad, (2, 2), 1)
    # both windows, columns 0-1 and 1-2, meet the 5 of row 0, column 1 first
    np.testing.assert_array_equal(found[0, :, :, 0], [[0.0, 11.0, 0.0], [0.0, 0.0, 0.0]])


def test_pixels_that_no_window_covers_get_nothing() -> None:
    x = np.arange(25.0).reshape(1, 5, 5, 1)
    y = max_pool_forward(x, (2, 2), 2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[6.0, 8.0], [16.0, 18.0]])
    found = max_pool_backward(x, np.ones((1, 2, 2, 1)), (2, 2), 2)
    assert found.sum() == 4
    assert found[0, 4].sum() == found[0, :, 4].sum() == 0


def test_the_result_is_no_view_of_the_images() -> None:
    x = np.ones((1, 2, 2, 1))
    y = max_pool_forward(x, (1, 1), 1)
    y[...] = 7
    assert x.max() == 1
