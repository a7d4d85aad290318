"""Kernels that pool, arrange, resize, drop and pick numbers, from sizes as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib.kernels.arranging.copying import Concatenate
from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.arranging.scatter import ScatterAddRows
from nnlib.kernels.arranging.sorting import SortTokens
from nnlib.kernels.launch import Launch
from nnlib.kernels.pointwise.dropout import Dropout
from nnlib.kernels.reducing.axis_rules import Averaged, Resized
from nnlib.ops.pool_axis import PoolAxis
from nnlib.precision import DTypeName

Sizes = Mapping[str, int]


def average_pool(sizes: Sizes, dtype: DTypeName, *, gradient: bool = False) -> Resample:
    """Means under windows of k × k pixels."""
    k, stride, padding = sizes["k"], sizes["stride"], sizes["padding"]
    rows, columns = (
        Averaged(PoolAxis((sizes[name] - 1) * stride + k - 2 * padding, k, stride, padding)) for name in ("ro", "co")
    )
    return Resample(sizes["batch"], rows, columns, sizes["ni"], dtype, gradient, "average_pool")


def upsample(sizes: Sizes, dtype: DTypeName) -> Resample:
    """Bilinear, to k times as many rows and columns."""
    rows, columns = (Resized(-(-sizes[name] // sizes["k"]), sizes[name], "bilinear") for name in ("ro", "co"))
    return Resample(sizes["batch"], rows, columns, sizes["ni"], dtype, label="upsample")


def concatenate(sizes: Sizes, dtype: DTypeName) -> Concatenate:
    """Equal matrices side by side."""
    return Concatenate(sizes["rows"], (sizes["columns"],) * sizes["count"], 1, dtype)


def dropout(sizes: Sizes, dtype: DTypeName) -> Dropout:
    """Of half of the numbers."""
    return Dropout(sizes["rows"], sizes["columns"], 0.5, dtype)


def embedding(sizes: Sizes, dtype: DTypeName) -> GatherRows:
    return GatherRows(_picks(sizes), dtype)


def embedding_gradient(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, Launch]:
    """The tokens sorted, and the gradients of equal ones added."""
    picks = _picks(sizes)
    return Launch.of(SortTokens(picks, dtype)), Launch.of(ScatterAddRows(picks, dtype))


def _picks(sizes: Sizes) -> Picks:
    return Picks(samples=1, tokens=sizes["rows"], rows=sizes["count"], width=sizes["columns"])
