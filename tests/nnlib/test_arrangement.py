"""Pooling windows, bins, borders and picked rows by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.ops.arrangement import pad_forward
from nnlib.ops.axis_map import adaptive_map, bins, edge_map, linear_map, mirrored_map, nearest_map
from nnlib.ops.embedding import embedding_backward, embedding_forward
from nnlib.ops.pool_axis import PoolAxis
from nnlib.ops.pooling import max_pool_backward, max_pool_forward


def test_a_last_window_has_to_begin_before_the_padding_behind() -> None:
    assert PoolAxis(5, 2, 2).count == 2
    assert PoolAxis(5, 2, 2, ceil_mode=True).count == 3
    assert PoolAxis(4, 2, 3, padding=1, ceil_mode=True).count == 2  # a third one would begin at pixel 5
    assert PoolAxis(112, 3, 2, ceil_mode=True).count == 56  # GoogLeNet's first pooling


def test_paddings_of_both_sides_apart() -> None:
    pool = PoolAxis(4, 3, 2, 0, behind=1)
    assert (pool.count, pool.taps) == (
        2,
        ((slice(0, 2), slice(0, 3, 2)), (slice(0, 2), slice(1, 4, 2)), (slice(0, 1), slice(2, 3, 2))),
    )
    x = np.arange(4.0).reshape(1, 4, 1)
    assert max_pool_forward(x, (3,), 2, padding=[(0, 1)]).ravel().tolist() == [2, 3]


def test_sizes_of_windows_leave_out_what_lies_beyond_the_padding() -> None:
    pool = PoolAxis(5, 3, 2, padding=1, ceil_mode=True)
    assert pool.sizes(padded=True).tolist() == [3, 3, 3]
    assert pool.sizes(padded=False).tolist() == [2, 3, 2]
    assert PoolAxis(6, 3, 2, padding=1, ceil_mode=True).sizes(padded=True).tolist() == [3, 3, 3, 2]


@pytest.mark.parametrize(("length", "kernel", "padding"), [(9, 3, 3), (1, 4, 1), (3, 4, 0)])
def test_windows_that_do_not_fit_are_refused(length: int, kernel: int, padding: int) -> None:
    with pytest.raises(ValueError, match="window"):
        PoolAxis(length, kernel, 1, padding)


def test_padding_never_wins_even_against_negative_numbers() -> None:
    x = -np.ones((1, 3, 3, 1))
    y = max_pool_forward(x, (3, 3), 2, padding=1)
    assert (y == -1).all()
    found = max_pool_backward(x, np.ones((1, 2, 2, 1)), (3, 3), 2, padding=1)
    assert found[0, :, :, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_bins_overlap_where_they_do_not_divide() -> None:
    first, end = bins(7, 3)
    assert (first.tolist(), end.tolist()) == ([0, 2, 4], [3, 5, 7])
    assert bins(2, 3)[0].tolist() == [0, 0, 1]
    assert adaptive_map(7, 3).matrix[1].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0])


@pytest.mark.parametrize(
    "of",
    [
        linear_map(5, 8),
        linear_map(9, 4, align_corners=True),
        nearest_map(7, 3),
        adaptive_map(7, 5),
        mirrored_map(5, 4, 2),
        edge_map(3, 2, 5),
    ],
)
def test_a_transposed_map_is_the_transposed_matrix(of: object) -> None:
    assert np.array_equal(of.transposed.matrix, of.matrix.T)  # type: ignore[attr-defined]
    x = np.random.default_rng(0).standard_normal((2, of.length, 3))  # type: ignore[attr-defined]
    np.testing.assert_allclose(of.apply(x, 1), of.matrix @ x, rtol=1e-12, atol=1e-15)  # type: ignore[attr-defined]


def test_linear_places_by_hand() -> None:
    assert linear_map(2, 4).matrix.tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert linear_map(2, 3, align_corners=True).matrix.tolist() == [[1, 0], [0.5, 0.5], [0, 1]]


def test_borders_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert pad_forward(x, [(2, 1)], mode="reflect").tolist() == [3, 2, 1, 2, 3, 2]
    assert pad_forward(x, [(2, 1)], mode="edge").tolist() == [1, 1, 1, 2, 3, 3]
    assert pad_forward(x, [(-1, 2)], value=7).tolist() == [2, 3, 7, 7]
    with pytest.raises(ValueError, match="mirrored"):
        pad_forward(x, [(3, 0)], mode="reflect")
    with pytest.raises(ValueError, match="edge"):
        pad_forward(x, [(-1, 1)], mode="edge")


def test_tokens_outside_the_table_are_refused() -> None:
    table = np.eye(3)
    for tokens in (np.array([0, 3]), np.array([-1])):
        with pytest.raises(ValueError, match="rows 0 to 2"):
            embedding_forward(tokens, table)
        with pytest.raises(ValueError, match="rows 0 to 2"):
            embedding_backward(tokens, np.ones((tokens.size, 2)), 3)
    assert embedding_backward(np.zeros(0, dtype=np.int64), np.ones((0, 2)), 3).tolist() == [[0, 0]] * 3
