"""Tile programs that pool, arrange, resize, reduce and pick numbers against PyTorch, on CPEs with little LDM."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.arranging.copying import Concatenate, Copy, shifted_move, whole_move
from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.arranging.scatter import ScatterAddRows
from nnlib.kernels.arranging.sorting import SortTokens
from nnlib.kernels.pointwise.broadcasting import Broadcast, Repeat
from nnlib.kernels.reducing.axis_reduction import AxisMaxGradient, AxisReduce
from nnlib.kernels.reducing.axis_rules import Averaged, Binned, Bordered, Resized
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.ops.pool_axis import PoolAxis
from nnlib.precision import DTypeName
from tests.nnlib.kernels.arrangements import pool_axes
from tests.nnlib.parity import Array
from tests.nnlib.parity.test_kernels_parity import computed, normal, same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", ["fp64", "fp32"])
examples = settings(max_examples=8, deadline=None)
lengths = st.integers(1, 12)


def check_images(kernel: Resample, function: object, dtype: DTypeName) -> None:
    """A map of images and its gradient; ``function`` takes channels first."""
    rows, columns = kernel.rows.map(), kernel.columns.map()
    (x,) = normal(0, dtype, (kernel.batch, rows.length, columns.length, kernel.channels))
    leaf = torch.tensor(x, requires_grad=True)
    y = function(leaf.movedim(-1, 1)).movedim(1, -1)  # type: ignore[operator]
    (grad,) = normal(1, dtype, tuple(y.shape))
    y.backward(torch.from_numpy(grad))
    same(computed(kernel, {"x": x})["y"], y, dtype)
    back = Resample(kernel.batch, kernel.rows, kernel.columns, kernel.channels, dtype, gradient=True)
    same(computed(back, {"x": grad})["y"], leaf.grad, dtype)


@dtypes
@examples
@given(
    rows=pool_axes(ceil_mode=True), columns=pool_axes(ceil_mode=True), batch=st.integers(1, 3), values=st.integers(1, 9)
)
def test_max_pools_with_padding_dilation_and_ceiling(
    dtype: DTypeName, rows: PoolAxis, columns: PoolAxis, batch: int, values: int
) -> None:
    window = PoolWindow(batch, rows, columns, 5)
    x = np.random.default_rng(values).integers(-values, values, window.image).astype(normal(0, dtype, ())[0].dtype)
    leaf = torch.tensor(x, requires_grad=True)
    padding, dilation = (rows.padding, columns.padding), window.dilation
    y = F.max_pool2d(leaf.movedim(-1, 1), window.kernel, window.stride, padding, dilation, True).movedim(1, -1)
    (grad,) = normal(1, dtype, tuple(y.shape))
    y.backward(torch.from_numpy(grad))
    same(computed(MaxPool(window, dtype), {"x": x})["y"], y, dtype)
    same(computed(MaxPoolGradient(window, dtype), {"x": x, "grad_y": grad})["grad_x"], leaf.grad, dtype)


@dtypes
@examples
@given(
    rows=pool_axes(ceil_mode=False, dilated=False),
    columns=pool_axes(ceil_mode=False, dilated=False),
    padded=st.booleans(),
)
def test_average_pools(dtype: DTypeName, rows: PoolAxis, columns: PoolAxis, padded: bool) -> None:
    check_images(
        Resample(2, Averaged(rows, padded), Averaged(columns, padded), 3, dtype),
        lambda x: F.avg_pool2d(
            x,
            (rows.kernel, columns.kernel),
            (rows.stride, columns.stride),
            (rows.padding, columns.padding),
            False,
            padded,
        ),
        dtype,
    )


@dtypes
@examples
@given(shape=st.tuples(lengths, lengths), size=st.tuples(st.integers(1, 25), st.integers(1, 25)))
def test_bins_and_resizing(dtype: DTypeName, shape: tuple[int, int], size: tuple[int, int]) -> None:
    (height, width), (rows, columns) = shape, size
    check_images(
        Resample(2, Binned(height, rows), Binned(width, columns), 3, dtype),
        lambda x: F.adaptive_avg_pool2d(x, size),
        dtype,
    )
    check_images(
        Resample(2, Resized(height, rows), Resized(width, columns), 3, dtype), lambda x: F.interpolate(x, size), dtype
    )
    for corners in (False, True):
        check_images(
            Resample(
                2,
                Resized(height, rows, "bilinear", corners),
                Resized(width, columns, "bilinear", corners),
                3,
                dtype,
            ),
            lambda x, corners=corners: F.interpolate(x, size, mode="bilinear", align_corners=corners),
            dtype,
        )
    check_images(
        Resample(2, Bordered(height, height - 1, 0, "reflect"), Bordered(width, 0, width - 1, "reflect"), 3, dtype),
        lambda x: F.pad(x, (0, width - 1, height - 1, 0), mode="reflect"),
        dtype,
    )


@dtypes
@examples
@given(shape=st.tuples(lengths, lengths, lengths), axes=st.permutations(range(3)), other=lengths)
def test_copies_sums_and_reductions(dtype: DTypeName, shape: tuple[int, int, int], axes: list[int], other: int) -> None:
    one, two = normal(3, dtype, shape, (shape[0], other, shape[2]))
    theirs = torch.from_numpy(one)
    same(computed(Copy(whole_move(shape, tuple(axes)), dtype), {"x": one})["y"], theirs.permute(*axes), dtype)
    wide = (shape[0], shape[1] + 3, shape[2])
    pad = Copy(shifted_move(shape, wide, (0, -1, 0)), dtype, 0.5)
    same(computed(pad, {"x": one})["y"], F.pad(theirs, (0, 0, 1, 2), value=0.5), dtype)
    beside = Concatenate(shape[0], (shape[1], other), shape[2], dtype)
    same(computed(beside, {"x0": one, "x1": two})["y"], torch.cat([theirs, torch.from_numpy(two)], 1), dtype)
    row = two[:, :1]
    product = Broadcast("multiply", shape, row.shape, dtype)
    same(computed(product, {"x": one, "y": row})["z"], theirs * torch.from_numpy(row), dtype)
    spread = Repeat(row.shape, shape, dtype, 0.25)
    same(computed(spread, {"x": row})["y"], torch.from_numpy(row).expand(shape) * 0.25, dtype)
    positive = np.abs(one)
    mean = AxisReduce("mean", *shape, dtype)
    same(computed(mean, {"x": positive})["y"], torch.from_numpy(positive).mean(1), dtype)


@dtypes
@examples
@given(shape=st.tuples(lengths, st.integers(1, 400), lengths))
def test_maxima_of_axes_and_their_gradients(dtype: DTypeName, shape: tuple[int, int, int]) -> None:
    (x,) = normal(4, dtype, shape)
    leaf = torch.tensor(x, requires_grad=True)
    y = leaf.max(1).values
    (grad,) = normal(5, dtype, tuple(y.shape))
    y.backward(torch.from_numpy(grad))
    found = computed(AxisReduce("max", *shape, dtype), {"x": x})["y"]
    same(found, y, dtype)
    arrays: dict[str, Array] = {"x": x, "y": found, "grad_y": grad}
    same(computed(AxisMaxGradient(*shape, dtype), arrays)["grad_x"], leaf.grad, dtype)


@dtypes
@examples
@given(count=st.integers(1, 300), rows=st.integers(1, 30), width=lengths, seed=st.integers(0, 99))
def test_rows_by_number(dtype: DTypeName, count: int, rows: int, width: int, seed: int) -> None:
    (table,) = normal(seed, dtype, (rows, width))
    tokens = np.random.default_rng(seed).integers(0, rows, count)
    leaf = torch.tensor(table, requires_grad=True)
    y = F.embedding(torch.from_numpy(tokens), leaf)
    (grad,) = normal(seed + 1, dtype, tuple(y.shape))
    y.backward(torch.from_numpy(grad))
    picks = Picks(1, count, rows, width)
    same(computed(GatherRows(picks, dtype), {"tokens": tokens, "table": table})["y"], y, dtype)
    ordered = computed(SortTokens(picks, dtype), {"tokens": tokens})
    arrays = {"rows": ordered["rows"], "order": ordered["order"], "grad": grad}
    same(computed(ScatterAddRows(picks, dtype), arrays)["total"], leaf.grad, dtype)
