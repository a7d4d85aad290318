"""Quantisation and products of integers against PyTorch: the same integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.precision.fixed import dequantise, quantise
from nnlib.precision.integer import integer_conv2d, integer_matmul
from tests.nnlib.parity import nchw, nhwc, oihw

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.parity, pytest.mark.numeric]

seeds = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, rows=st.integers(1, 30), columns=st.integers(1, 30), fraction=st.integers(3, 9))
def test_quantised_tensors(seed: int, rows: int, columns: int, fraction: int) -> None:
    """One power-of-two step, ties and saturated numbers among them."""
    rng = np.random.default_rng(seed)
    step = 2.0**-fraction
    x = (rng.integers(-600, 600, (rows, columns)) / 2 * step).astype(np.float32)
    theirs = torch.fake_quantize_per_tensor_affine(torch.from_numpy(x), step, 0, -128, 127)
    ours, _ = quantise(x, step, "int8")
    assert np.array_equal(dequantise(ours, step, np.float32), theirs.numpy())


@settings(max_examples=25, deadline=None)
@given(seed=seeds, rows=st.integers(1, 30), columns=st.integers(1, 8))
def test_quantised_channels(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    steps = 2.0 ** rng.integers(-8, -2, columns)
    x = (rng.standard_normal((rows, columns)) * 3).astype(np.float32)
    theirs = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(x),
        torch.from_numpy(steps.astype(np.float32)),
        torch.zeros(columns, dtype=torch.int32),
        1,
        -128,
        127,
    )
    ours, _ = quantise(x, steps, "int8")
    assert np.array_equal(dequantise(ours, steps, np.float32), theirs.numpy())


@settings(max_examples=25, deadline=None)
@given(seed=seeds, m=st.integers(1, 20), n=st.integers(1, 20), k=st.integers(1, 40))
def test_matrix_products(seed: int, m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((m, k), (k, n)))
    theirs = torch.from_numpy(a).to(torch.int32) @ torch.from_numpy(b).to(torch.int32)
    assert np.array_equal(integer_matmul(a, b).values, theirs.numpy())


@settings(max_examples=25, deadline=None)
@given(
    seed=seeds,
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_convolutions(seed: int, size: tuple[int, int], stride: int, padding: int, channels: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, *size, channels[0])).astype(np.int8)
    weight = rng.integers(-128, 128, (3, 3, *channels)).astype(np.int8)
    ours = integer_conv2d(x, weight, stride=stride, padding=padding).values
    theirs = torch.nn.functional.conv2d(
        torch.from_numpy(nchw(x)).to(torch.float64),
        torch.from_numpy(oihw(weight)).to(torch.float64),
        stride=stride,
        padding=padding,
    )
    assert np.array_equal(ours, nhwc(theirs.numpy()))
