"""Every kernel: tiles compute what whole arrays do, and time does not depend on how numbers are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.im2col import Im2col
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise
from nnlib.kernels.products.gemm import Gemm, plan_gemm
from nnlib.kernels.reducing.pooling import MaxPoolGradient
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.simulation import simulate
from nnlib.kernels.window import Window
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.cases import data_for, kernels
from tests.nnlib.kernels.tiles import check_tiles, relative_error
from tests.nnlib.kernels.waits import check_every_wait


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=60, deadline=None)
@given(kernel=kernels)
def test_tiles_compute_the_reference_in_the_same_time(kernel: Kernel) -> None:
    processor = load_machine("sunway_taihulight").processor
    timing = check_tiles(kernel, processor)
    assert KernelClock(processor).time(kernel) == timing
    for cpe, total in enumerate(zip(*timing.reasons.values(), strict=True)):
        assert sum(total) == timing.ticks, f"the reasons of CPE {cpe} leave a gap"


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("columns", [1700, 4096, 4099])
def test_rows_wider_than_the_ldm_go_in_blocks_of_columns(
    columns: int, dtype: DTypeName, processor: ProcessorSpec
) -> None:
    for kernel in (BiasAdd(70, columns, dtype), ColumnSum(70, columns, dtype)):
        data = data_for(kernel)
        expected = {name: array.copy() for name, array in data.items()}
        kernel.reference(expected)
        timing = simulate(kernel, processor=processor, data=data)
        for name, array in data.items():
            assert relative_error(array, expected[name]) <= (1e-12 if dtype == "fp64" else 1e-5), (kernel, name)
        assert KernelClock(processor).time(kernel) == timing
        assert timing.flops == 70 * columns
        assert timing.get_bytes >= 70 * columns * data[kernel.parameters()[0].name].itemsize


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_the_planned_ldm_of_a_gemm_is_what_it_allocates(
    dtype: DTypeName, transpose_b: bool, processor: ProcessorSpec
) -> None:
    gemm = Gemm(m=512, n=512, k=512, dtype=dtype, transpose_b=transpose_b)
    plan = plan_gemm(gemm=gemm, processor=processor)
    item = 8 if dtype == "fp64" else 4
    a, b, c = plan.m * plan.k, plan.k * plan.n, plan.m * plan.n
    expected = item * (2 * a + (3 if transpose_b else 2) * b + 2 * c) + (8 * (a + b) if dtype == "fp32" else 0)
    assert KernelClock(processor).time(gemm).ldm_high_water == expected <= processor.cpe.ldm_bytes


ONE_OF_EACH = [
    Gemm(m=130, n=33, k=70, dtype="fp64", transpose_b=True),
    Elementwise("sgd", 40_000, "fp64"),
    SoftmaxCrossEntropy(rows=300, classes=10, dtype="fp64"),
    Im2col(Window(70, 5, 5, 3, (3, 3), 1, 1), "fp64"),
    MaxPoolGradient(Window(70, 6, 6, 2, (2, 2), 2, 0), "fp64"),
]


@pytest.mark.timing
@pytest.mark.parametrize("kernel", ONE_OF_EACH, ids=lambda kernel: kernel.name)
def test_every_wait_is_needed(kernel: Kernel, processor: ProcessorSpec) -> None:
    check_every_wait(kernel, processor, more_than=3)


@pytest.mark.parametrize(
    "kernel",
    [
        lambda: Gemm(m=64, n=64, k=64, dtype="fp64"),
        lambda: SoftmaxCrossEntropy(rows=8, classes=100_000, dtype="fp64"),
        lambda: Im2col(Window(1, 64, 64, 1, (64, 64)), "fp64"),
        lambda: BiasAdd(8, 3, "fp64"),
        lambda: Elementwise("adam", 100, "fp64"),
    ],
)
def test_a_tile_that_does_not_fit_is_an_error_with_sizes(
    kernel: Callable[[], Kernel], processor: ProcessorSpec
) -> None:
    cpe = replace(processor.cpe, ldm_bytes=128)
    with pytest.raises(InfeasiblePlan) as caught:
        KernelClock(replace(processor, cpe=cpe)).time(kernel())
    assert caught.value.needed > caught.value.available == 128


def test_a_larger_machine_is_not_slower(processor: ProcessorSpec) -> None:
    kernel = Gemm(m=512, n=256, k=256, dtype="fp64")
    base = KernelClock(processor).time(kernel).ticks
    faster_memory = replace(processor, dma=replace(processor.dma, line_seconds=processor.dma.line_seconds / 2))
    assert KernelClock(faster_memory).time(kernel).ticks < base
