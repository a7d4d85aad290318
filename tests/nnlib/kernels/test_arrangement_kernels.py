"""Kernels that pool, arrange, resize, drop and pick numbers: shapes of every size, times near the bandwidth, waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nnlib.kernels.arranging.copying import Concatenate, Copy, Move, shifted_move, whole_move
from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.arranging.scatter import ScatterAddRows
from nnlib.kernels.arranging.sorting import SortTokens
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.pointwise.broadcasting import Broadcast, Repeat, merge
from nnlib.kernels.pointwise.dropout import Dropout, key_and_sample
from nnlib.kernels.reducing.axis_reduction import AxisMaxGradient, AxisReduce
from nnlib.kernels.reducing.axis_rules import Averaged, Binned, Bordered, Resized, Same
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.simulation import compute_kernel, simulate
from nnlib.ops.dropout import keep_mask
from nnlib.ops.pool_axis import PoolAxis
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from sim.time import TICKS_PER_CYCLE
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait

Build = Callable[[DTypeName], Kernel]


def pooled(length: int, kernel: int, stride: int, padding: int, *, ceil_mode: bool = False) -> PoolAxis:
    return PoolAxis(length, kernel, stride, padding, 1, ceil_mode)


def window(batch: int, length: int, channels: int) -> PoolWindow:
    """ResNet's pooling of 3 × 3 pixels with stride 2 and a padding of 1."""
    return PoolWindow(batch, pooled(length, 3, 2, 1), pooled(length, 3, 2, 1), channels)


RAGGED_LARGE_TINY: dict[str, tuple[Build, Build, Build]] = {
    "max_pool": (
        lambda dtype: MaxPool(window(3, 13, 5), dtype),
        lambda dtype: MaxPool(window(2, 112, 67), dtype),
        lambda dtype: MaxPool(window(1, 1, 1), dtype),
    ),
    "max_pool_gradient": (
        lambda dtype: MaxPoolGradient(window(3, 13, 5), dtype),
        lambda dtype: MaxPoolGradient(window(2, 112, 67), dtype),
        lambda dtype: MaxPoolGradient(window(1, 1, 1), dtype),
    ),
    "average_pool": (
        lambda dtype: Resample(
            3, Averaged(pooled(13, 3, 2, 1, ceil_mode=True)), Averaged(pooled(9, 2, 3, 0), False), 5, dtype
        ),
        lambda dtype: Resample(2, Averaged(pooled(112, 3, 2, 1)), Averaged(pooled(112, 3, 2, 1)), 67, dtype),
        lambda dtype: Resample(1, Averaged(pooled(1, 1, 1, 0)), Averaged(pooled(1, 1, 1, 0)), 1, dtype, gradient=True),
    ),
    "adaptive": (
        lambda dtype: Resample(3, Binned(13, 7), Binned(11, 3), 5, dtype, gradient=True),
        lambda dtype: Resample(2, Binned(97, 7), Binned(101, 7), 130, dtype),
        lambda dtype: Resample(1, Binned(2, 3), Same(1), 1, dtype),
    ),
    "upsample": (
        lambda dtype: Resample(3, Resized(13, 29, "bilinear"), Resized(7, 3, "bilinear", True), 5, dtype),
        lambda dtype: Resample(2, Resized(56, 112, "bilinear"), Resized(56, 112, "bilinear"), 66, dtype, gradient=True),
        lambda dtype: Resample(1, Resized(1, 2), Resized(1, 1), 1, dtype),
    ),
    "border": (
        lambda dtype: Resample(3, Bordered(13, 3, 5, "reflect"), Bordered(7, 3, 2, "edge"), 5, dtype, gradient=True),
        lambda dtype: Resample(2, Bordered(90, 3, 3, "reflect"), Bordered(90, 3, 3, "reflect"), 70, dtype),
        lambda dtype: Resample(1, Bordered(1, 1, 0, "edge"), Same(1), 1, dtype),
    ),
    "pad": (
        lambda dtype: Copy(shifted_move((3, 13, 7, 5), (3, 17, 8, 5), (0, -2, -1, 0)), dtype, 2.5),
        lambda dtype: Copy(shifted_move((2, 90, 91, 70), (2, 94, 95, 70), (0, -2, -2, 0)), dtype),
        lambda dtype: Copy(shifted_move((1,), (1,), (5,)), dtype),
    ),
    "into a part": (
        lambda dtype: Copy(
            Move(
                source=(70, 9),
                target=(75, 20),
                size=(70, 9),
                source_start=(0, 0),
                target_start=(3, 5),
                axes=(0, 1),
            ),
            dtype,
        ),
        lambda dtype: Copy(
            Move(
                source=(999, 301),
                target=(1000, 700),
                size=(999, 301),
                source_start=(0, 0),
                target_start=(1, 350),
                axes=(0, 1),
            ),
            dtype,
        ),
        lambda dtype: Copy(
            Move(source=(1,), target=(3,), size=(1,), source_start=(0,), target_start=(1,), axes=(0,)), dtype
        ),
    ),
    "transpose": (
        lambda dtype: Copy(whole_move((3, 13, 7, 5), (2, 0, 3, 1)), dtype),
        lambda dtype: Copy(whole_move((2, 90, 91, 70), (0, 3, 1, 2)), dtype),
        lambda dtype: Copy(whole_move((1, 1), (1, 0)), dtype),
    ),
    "concatenate": (
        lambda dtype: Concatenate(13, (3, 1, 7), 5, dtype),
        lambda dtype: Concatenate(2 * 56 * 56, (64, 130, 33), 1, dtype),
        lambda dtype: Concatenate(1, (1,), 1, dtype),
    ),
    "broadcast": (
        lambda dtype: Broadcast("divide", (3, 1, 7, 5), (3, 13, 1, 5), dtype),
        lambda dtype: Broadcast("multiply", (2, 56, 56, 130), (2, 1, 1, 130), dtype),
        lambda dtype: Broadcast("subtract", (1, 1), (1, 1), dtype),
    ),
    "repeat": (
        lambda dtype: Repeat((3, 1, 5), (3, 13, 5), dtype, 1 / 13),
        lambda dtype: Repeat((8, 1, 300), (8, 900, 300), dtype),
        lambda dtype: Repeat((1,), (1,), dtype, 2.0),
    ),
    "axis_mean": (
        lambda dtype: AxisReduce("mean", 13, 50, 7, dtype),
        lambda dtype: AxisReduce("mean", 2, 112 * 112, 67, dtype),
        lambda dtype: AxisReduce("mean", 1, 1, 1, dtype),
    ),
    "axis_sum": (
        lambda dtype: AxisReduce("sum", 3, 5001, 2, dtype),
        lambda dtype: AxisReduce("sum", 1, 884_736, 1, dtype),
        lambda dtype: AxisReduce("sum", 1, 2, 1, dtype),
    ),
    "axis_max": (
        lambda dtype: AxisReduce("max", 130, 50, 1, dtype),
        lambda dtype: AxisReduce("max", 1, 99_001, 9, dtype),
        lambda dtype: AxisReduce("max", 1, 1, 1, dtype),
    ),
    "axis_max_gradient": (
        lambda dtype: AxisMaxGradient(13, 50, 7, dtype),
        lambda dtype: AxisMaxGradient(2, 40_000, 9, dtype),
        lambda dtype: AxisMaxGradient(1, 1, 1, dtype),
    ),
    "dropout": (
        lambda dtype: Dropout(13, 77, 0.3, dtype),
        lambda dtype: Dropout(3, 200_001, 0.5, dtype),
        lambda dtype: Dropout(1, 1, 0.5, dtype),
    ),
    "gather_rows": (
        lambda dtype: GatherRows(Picks(3, 77, 13, 5), dtype),
        lambda dtype: GatherRows(Picks(1, 150, 40, 9001), dtype),
        lambda dtype: GatherRows(Picks(1, 1, 1, 1), dtype),
    ),
    "sort_tokens": (
        lambda dtype: SortTokens(Picks(3, 77, 13, 5), dtype),
        lambda dtype: SortTokens(Picks(1, 100_000, 30_000, 1), dtype),
        lambda dtype: SortTokens(Picks(1, 1, 1, 1), dtype),
    ),
    "scatter_add_rows": (
        lambda dtype: ScatterAddRows(Picks(3, 77, 13, 5), dtype),
        lambda dtype: ScatterAddRows(Picks(1, 400, 9, 4001), dtype),
        lambda dtype: ScatterAddRows(Picks(1, 1, 1, 1), dtype),
    ),
}


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("name", RAGGED_LARGE_TINY)
def test_tiles_compute_the_reference_and_loops_are_cut_short_exactly(
    name: str, dtype: DTypeName, processor: ProcessorSpec
) -> None:
    for build in RAGGED_LARGE_TINY[name]:
        kernel = build(dtype)
        timing = check_tiles(kernel, processor)
        assert KernelClock(processor).time(kernel) == timing


@pytest.mark.numeric
@pytest.mark.parametrize("ldm", [2048, pytest.param(8192, marks=pytest.mark.slow)])
def test_small_ldms_cut_into_more_blocks(ldm: int, processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=ldm))
    for name, (ragged, _, _) in RAGGED_LARGE_TINY.items():
        timing = check_tiles(ragged("fp32"), small)
        assert timing.ldm_high_water <= ldm, name


@pytest.mark.timing
@pytest.mark.parametrize("name", RAGGED_LARGE_TINY)
def test_every_wait_is_needed(name: str, processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=4096))
    check_every_wait(RAGGED_LARGE_TINY[name][0]("fp64"), small, more_than=1)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize(
    "kernel",
    [
        MaxPool(window(8, 112, 64), "fp32"),
        MaxPoolGradient(window(8, 112, 64), "fp32"),
        Resample(8, Resized(56, 112), Resized(56, 112), 64, "fp32"),
        Copy(whole_move((8, 112, 112, 64), (0, 3, 1, 2)), "fp32"),
        Concatenate(8 * 28 * 28, (64, 128, 32, 32), 1, "fp32"),
        Broadcast("add", (8, 112, 112, 64), (8, 112, 112, 64), "fp32"),
        AxisReduce("mean", 8, 112 * 112, 64, "fp32"),
    ],
    ids=lambda kernel: kernel.name,
)
def test_large_arrays_go_near_the_bandwidth(kernel: Kernel, processor: ProcessorSpec) -> None:
    timing = simulate(kernel, processor=processor)
    seconds = timing.ticks / (processor.clock_hertz * TICKS_PER_CYCLE)
    lines = (timing.get_bytes + timing.put_bytes) / processor.dma.line_bytes
    assert lines < seconds / processor.dma.line_seconds < 1.35 * lines


@pytest.mark.parametrize("name", RAGGED_LARGE_TINY)
def test_an_ldm_for_nothing_is_an_error_with_sizes(name: str, processor: ProcessorSpec) -> None:
    tiny = replace(processor, cpe=replace(processor.cpe, ldm_bytes=32))
    with pytest.raises(InfeasiblePlan) as caught:
        KernelClock(tiny).time(RAGGED_LARGE_TINY[name][0]("fp64"))
    assert caught.value.needed > caught.value.available == 32


@pytest.mark.numeric
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_a_row_of_many_tokens_is_added_over_several_cpes(rows: int, processor: ProcessorSpec) -> None:
    picks = Picks(1, 333, rows, 3)
    tokens = np.random.default_rng(rows).integers(0, rows, 333)
    order = np.argsort(tokens, kind="stable")
    grad = np.random.default_rng(0).standard_normal((333, 3))
    data = {
        "rows": tokens[order].astype(float),
        "order": order.astype(float),
        "grad": grad,
        "total": np.full((rows, 3), np.nan),
    }
    compute_kernel(ScatterAddRows(picks, "fp64"), processor=processor, data=data)
    expected = np.zeros((rows, 3))
    np.add.at(expected, tokens, grad)
    np.testing.assert_allclose(data["total"], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_dropout_in_tiles_is_the_mask_of_the_key_and_the_samples(dtype: DTypeName, processor: ProcessorSpec) -> None:
    key, first = 0xFEDC_BA98_7654_3210, (1 << 40) + 5
    kernel = Dropout(5, 1001, 0.25, dtype)
    pieces = [float(value >> shift & 0xFFFF) for value in (key, first) for shift in (0, 16, 32, 48)]
    kind = np.float64 if dtype == "fp64" else np.float32
    data = {"x": np.ones((5, 1001), kind), "hyper": np.array(pieces, kind), "y": np.full((5, 1001), np.nan, kind)}
    assert key_and_sample(data["hyper"]) == (key, first)
    compute_kernel(kernel, processor=processor, data=data)
    assert np.array_equal(data["y"] > 0, keep_mask(key, first, (5, 1001), 0.25))


def test_neighbouring_axes_that_are_alike_become_one() -> None:
    assert merge((2, 3, 4, 5), ((2, 3, 4, 5), (2, 3, 4, 5))) == ((120,), ((120,), (120,)))
    assert merge((2, 3, 4, 5), ((2, 3, 4, 5), (2, 1, 1, 5))) == ((2, 12, 5), ((2, 12, 5), (2, 1, 5)))
    assert merge((1, 1), ((1, 1),)) == ((1,), ((1,),))
