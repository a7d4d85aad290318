"""Resizing, embeddings, gathering and dropout against PyTorch, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.dropout import dropout_backward, dropout_forward, keep_mask
from nnlib.ops.embedding import embedding_backward, embedding_forward, gather_backward, gather_forward
from nnlib.ops.resize import resize_backward, resize_forward
from tests.nnlib.parity import TOLERANCE, Array, check_same, nchw, nhwc

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 99)


def normal(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@dtypes
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "corners"])
@examples
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    doubled=st.booleans(),
    seed=seeds,
)
def test_resizing_of_images(
    dtype: str, mode: str, shape: tuple[int, int, int, int], size: tuple[int, int], doubled: bool, seed: int
) -> None:
    size = (2 * shape[1], 2 * shape[2]) if doubled else size
    (x,) = normal(seed, dtype, shape)
    corners = mode == "corners"
    ours_mode = "nearest" if mode == "nearest" else "bilinear"
    y = resize_forward(x, size, mode=ours_mode, align_corners=corners)
    (grad,) = normal(seed + 1, dtype, y.shape)
    leaf = torch.tensor(nchw(x), requires_grad=True)
    more = {} if mode == "nearest" else {"align_corners": corners}
    expected = F.interpolate(leaf, size, mode=ours_mode, **more)
    expected.backward(torch.tensor(nchw(grad)))
    check_same(y, nhwc(expected.detach().numpy()), "y")
    check_same(resize_backward(grad, shape, mode=ours_mode, align_corners=corners), nhwc(leaf.grad.numpy()), "gradient")


def test_every_nearest_size_up_to_64_picks_the_same_pixels() -> None:
    for length in range(1, 65):
        x = np.arange(length, dtype=np.float32).reshape(1, length, 1, 1)
        for size in range(1, 65):
            expected = F.interpolate(torch.tensor(nchw(x)), (size, 1), mode="nearest")
            assert np.array_equal(resize_forward(x, (size, 1)), nhwc(expected.numpy())), (length, size)


@dtypes
@examples
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    table=st.tuples(st.integers(2, 20), st.integers(1, 9)),
    padded=st.booleans(),
    seed=seeds,
)
def test_embedding(dtype: str, shape: tuple[int, ...], table: tuple[int, int], padded: bool, seed: int) -> None:
    (weight,) = normal(seed, dtype, table)
    tokens = np.random.default_rng(seed).integers(0, table[0], shape)
    padding = table[0] - 1 if padded else None
    y = embedding_forward(tokens, weight)
    (grad,) = normal(seed + 1, dtype, y.shape)
    leaf = torch.tensor(weight, requires_grad=True)
    expected = F.embedding(torch.tensor(tokens), leaf, padding_idx=padding)
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    check_same(embedding_backward(tokens, grad, table[0], padding=padding), leaf.grad.numpy(), "gradient")


@dtypes
@examples
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    wanted=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    place=st.integers(0, 3),
    seed=seeds,
)
def test_gathering(dtype: str, shape: tuple[int, ...], wanted: tuple[int, ...], place: int, seed: int) -> None:
    (x,) = normal(seed, dtype, shape)
    axis = place % len(shape)
    indices = np.random.default_rng(seed).integers(-shape[axis], shape[axis], wanted)
    y = gather_forward(x, indices, axis)
    (grad,) = normal(seed + 1, dtype, y.shape)
    leaf = torch.tensor(x, requires_grad=True)
    flat = torch.tensor(indices.reshape(-1) % shape[axis])
    expected = leaf.index_select(axis, flat).reshape(y.shape)
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    check_same(gather_backward(grad, indices, shape, axis), leaf.grad.numpy(), "gradient")


@dtypes
@examples
@given(shape=st.tuples(st.integers(1, 4), st.integers(1, 40)), rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]), seed=seeds)
def test_dropout_under_the_same_mask(dtype: str, shape: tuple[int, int], rate: float, seed: int) -> None:
    """PyTorch draws its own bits: what is compared is what becomes of kept and of dropped numbers."""
    (x,) = normal(seed, dtype, shape)
    mask = keep_mask(seed, 0, shape, rate)
    leaf = torch.tensor(x, requires_grad=True)
    kept = torch.tensor(mask)
    scale = 0.0 if rate == 1 else 1 / (1 - rate)
    expected = torch.ops.aten.native_dropout_backward(leaf, kept, scale)
    (grad,) = normal(seed + 1, dtype, shape)
    expected.backward(torch.tensor(grad))
    check_same(dropout_forward(x, mask, rate), expected.detach().numpy(), "y")
    check_same(dropout_backward(grad, mask, rate), leaf.grad.numpy(), "gradient")
