"""Random kernels that pool, arrange, resize, drop and pick numbers, and data for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.arranging.copying import Concatenate, Copy, Move
from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.arranging.scatter import ScatterAddRows
from nnlib.kernels.arranging.sorting import SortTokens
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.broadcasting import Broadcast, Repeat
from nnlib.kernels.pointwise.dropout import Dropout
from nnlib.kernels.reducing.axis_reduction import AxisMaxGradient, AxisReduce
from nnlib.kernels.reducing.axis_rules import Averaged, AxisRule, Binned, Bordered, Resized, Same, Stepped
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.ops.pool_axis import PoolAxis
from sim.chip.memory import Array

dtypes = st.sampled_from(["fp64", "fp32"])
lengths = st.integers(1, 9)


@st.composite
def pool_axes(draw: st.DrawFn, *, ceil_mode: bool, dilated: bool = True) -> PoolAxis:
    """Windows apart or overlapping, with padding; a longer axis where they do not fit."""
    kernel = draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 3)) if dilated else 1
    stride, padding, length = draw(st.integers(1, 4)), draw(st.integers(0, kernel // 2)), draw(st.integers(1, 13))
    while True:
        try:
            return PoolAxis(length, kernel, stride, padding, dilation, ceil_mode)
        except ValueError:
            length += 1


@st.composite
def pool_windows(draw: st.DrawFn) -> PoolWindow:
    ceil_mode = draw(st.booleans())
    rows, columns = draw(pool_axes(ceil_mode=ceil_mode)), draw(pool_axes(ceil_mode=ceil_mode))
    return PoolWindow(batch=draw(st.integers(1, 5)), rows=rows, columns=columns, channels=draw(lengths))


@st.composite
def axis_rules(draw: st.DrawFn) -> AxisRule:
    length = draw(st.integers(1, 13))
    size = draw(st.integers(1, 20))
    pool = draw(pool_axes(ceil_mode=draw(st.booleans()), dilated=False))
    return draw(
        st.sampled_from(
            [
                Same(length),
                Averaged(pool),
                Averaged(pool, padded=False),
                Averaged(pool, divisor=3),
                Binned(length, size),
                Resized(length, size),
                Resized(length, size, "bilinear"),
                Resized(length, size, "bilinear", align_corners=True),
                Bordered(length, length - 1, length // 2, "reflect"),
                Bordered(length, 2, 3, "edge"),
                Stepped(length, 0, 2, -(-length // 2)),
                Stepped(length, length - 1, -1, length),
            ]
        )
    )


@st.composite
def moves(draw: st.DrawFn) -> Move:
    """Boxes that may reach beyond the source, into a place of the target."""
    axes = tuple(draw(st.permutations(range(draw(st.integers(1, 4))))))

    def each(numbers: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(numbers) for _ in axes)

    size, start = each(lengths), each(st.integers(0, 2))
    behind = each(st.integers(0, 2)) if any(start) else each(st.just(0))
    target = tuple(sum(parts) for parts in zip(size, start, behind, strict=True))
    return Move(
        source=each(lengths),
        target=target,
        size=size,
        source_start=each(st.integers(-3, 3)),
        target_start=start,
        axes=axes,
    )


@st.composite
def broadcasts(draw: st.DrawFn) -> Kernel:
    shape = tuple(draw(st.lists(lengths, min_size=1, max_size=4)))
    x, y = (tuple(length if draw(st.booleans()) else 1 for length in shape) for _ in range(2))
    if draw(st.booleans()):
        return Repeat(x, shape, draw(dtypes), draw(st.sampled_from([1.0, 0.3])))
    return Broadcast(draw(st.sampled_from(["add", "subtract", "multiply", "divide"])), x, y, draw(dtypes))


@st.composite
def picks(draw: st.DrawFn) -> Picks:
    """A few tokens or several for each CPE, of a few rows or many."""
    return Picks(
        samples=draw(st.integers(1, 3)),
        tokens=draw(st.sampled_from([1, 3, 50, 130])) + draw(st.integers(0, 5)),
        rows=draw(st.sampled_from([1, 2, 5, 40])),
        width=draw(st.integers(1, 20)),
    )


outer, middle, inner = st.integers(1, 90), st.integers(1, 60), st.integers(1, 20)
arrangements: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(MaxPool, window=pool_windows(), dtype=dtypes),
    st.builds(MaxPoolGradient, window=pool_windows(), dtype=dtypes),
    st.builds(
        Resample,
        batch=st.integers(1, 4),
        rows=axis_rules(),
        columns=axis_rules(),
        channels=lengths,
        dtype=dtypes,
        gradient=st.booleans(),
    ),
    st.builds(Copy, move=moves(), dtype=dtypes, fill=st.sampled_from([0.0, -1.5])),
    st.builds(
        Concatenate,
        outer=lengths,
        sizes=st.lists(lengths, min_size=1, max_size=4).map(tuple),
        inner=lengths,
        dtype=dtypes,
    ),
    broadcasts(),
    st.builds(
        AxisReduce,
        function=st.sampled_from(["sum", "mean", "max"]),
        outer=outer,
        length=middle,
        inner=inner,
        dtype=dtypes,
    ),
    st.builds(
        AxisReduce,
        function=st.sampled_from(["sum", "mean", "max"]),
        outer=st.integers(1, 4),
        length=st.integers(1, 3000),
        inner=st.integers(1, 5),
        dtype=dtypes,
    ),
    st.builds(AxisMaxGradient, outer=outer, length=middle, inner=inner, dtype=dtypes),
    st.builds(
        Dropout, samples=lengths, elements=st.integers(1, 300), rate=st.sampled_from([0.0, 0.3, 1.0]), dtype=dtypes
    ),
    st.builds(GatherRows, picks=picks(), dtype=dtypes),
    st.builds(SortTokens, picks=picks(), dtype=dtypes),
    st.builds(ScatterAddRows, picks=picks(), dtype=dtypes),
)


def fill_arrangement(kernel: Kernel, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """What may not be any number."""
    match kernel:
        case AxisReduce():  # a sum of both signs may nearly cancel, and its error is then large beside it
            arrays["x"][...] = np.abs(arrays["x"])
        case AxisMaxGradient():
            arrays["x"][...] = np.round(arrays["x"])  # ties
            arrays["y"][...] = arrays["x"].max(axis=1)
        case Broadcast(function="divide"):
            arrays["y"][...] = np.abs(arrays["y"]) + 1
        case Dropout():
            arrays["hyper"][...] = rng.integers(0, 1 << 16, 8)
        case GatherRows(picks=picks) | SortTokens(picks=picks):
            arrays["tokens"][...] = rng.integers(0, picks.rows, picks.number)
        case ScatterAddRows(picks=picks):
            sort = SortTokens(picks, kernel.dtype)
            sort.reference({**arrays, "tokens": rng.integers(0, picks.rows, picks.number).astype(arrays["rows"].dtype)})
