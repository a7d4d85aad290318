"""Kernels of fixed point: tiles compute the references to the bit, in the time that bytes and instructions say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.im2col import Im2col
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.fixed.dynamic_step import DynamicStep
from nnlib.kernels.fixed.fixed_point import Dequantise, Quantise, Requantise
from nnlib.kernels.fixed.integer_depthwise import IntegerDepthwise
from nnlib.kernels.fixed.integer_sum import IntegerSum
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.integer_gemm import IntegerGemm, ldm_bytes, plan_integer_gemm
from nnlib.kernels.reducing.pooling import MaxPool
from nnlib.kernels.simulation import simulate
from nnlib.kernels.window import Window
from nnlib.precision.fixed import quantise
from nnlib.precision.random import key_numbers
from sim.chip.memory import MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.cases import data_for
from tests.nnlib.kernels.fixed_points import fixed_points
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def with_ldm(processor: ProcessorSpec, size: int) -> ProcessorSpec:
    return replace(processor, cpe=replace(processor.cpe, ldm_bytes=size))


STREAMS: list[Kernel] = [
    Quantise(1, 1, "int8"),
    Quantise(3, 5, "int16", "fp32", "stochastic"),
    Quantise(70_001, 1, "int16", "fp64", "stochastic"),
    Quantise(130, 9_000, "int8", "fp32", "stochastic"),
    Dequantise(1, 1, "int16"),
    DynamicStep(1, "fp64", "int16", 4),
    DynamicStep(70_001, "fp32", "int8", 0),
    Dequantise(130, 9_000, "int8", "fp32"),
    Requantise(257, 33, "int8", relu=True),
    Requantise(70, 9_000, "int16", rounding="stochastic"),
]
SUMS: list[Kernel] = [
    IntegerSum(1, 1, "int8", relu=True),
    IntegerSum(70_001, 2, "int16"),
    IntegerSum(3001, 3, "int8", relu=True, clipped=True),
    IntegerDepthwise(PatchWindow.of(Window(1, 1, 1, 1, (1, 1))), "int8"),
    IntegerDepthwise(PatchWindow.of(Window(5, 9, 8, 37, (3, 2), 2, 1)), "int16", relu=True),
    IntegerDepthwise(PatchWindow.of(Window(3, 28, 30, 500, (3, 3), 1, 1)), "int8", relu=True, clipped=True),
]
MOVES: list[Kernel] = [
    Im2col(Window(5, 9, 8, 3, (3, 2), 2, 1), "int8"),
    Im2col(Window(70, 12, 12, 16, (3, 3), 1, 1), "int16"),
    MaxPool(Window(1, 2, 2, 1, (2, 2), 2, 0), "int16"),
    MaxPool(Window(70, 13, 12, 9, (3, 3), 2, 0), "int8"),
    MaxPool(Window(9, 13, 12, 9, (3, 3), 2, 1), "int8"),
]
GEMMS: list[Kernel] = [
    IntegerGemm(1, 1, 1, "int8"),
    IntegerGemm(130, 33, 70, "int16", relu=True, clipped=True),
    IntegerGemm(1200, 300, 700, "int8"),
]


def named(kernel: Kernel) -> str:
    return repr(kernel)


@pytest.mark.numeric
@pytest.mark.parametrize("kernel", [*STREAMS, *SUMS, *MOVES, *GEMMS], ids=named)
def test_tiles_compute_the_reference(kernel: Kernel, processor: ProcessorSpec) -> None:
    timing = check_tiles(kernel, processor)
    assert KernelClock(processor).time(kernel) == timing


@pytest.mark.numeric
@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(kernel=fixed_points)
def test_tiles_compute_the_reference_on_many_shapes(kernel: Kernel) -> None:
    processor = load_machine("sunway_taihulight").processor
    assert KernelClock(processor).time(kernel) == check_tiles(kernel, processor)


@pytest.mark.timing
@pytest.mark.parametrize(
    "kernel",
    [
        Quantise(40_000, 1, "int16", "fp32", "stochastic"),
        Requantise(3000, 40, "int8"),
        IntegerGemm(500, 100, 300, "int16"),
        IntegerSum(60_000, 2, "int8"),
        IntegerDepthwise(PatchWindow.of(Window(40, 9, 9, 16, (3, 3), 1, 1)), "int8"),
    ],
    ids=named,
)
@pytest.mark.parametrize("memory", [MemoryUse(), MemoryUse(mode="shared", active=4, base_offset=16)], ids=["own", "4"])
def test_cut_loops_take_the_time_of_whole_ones(kernel: Kernel, memory: MemoryUse, processor: ProcessorSpec) -> None:
    small = with_ldm(processor, 4096)
    assert simulate(kernel, processor=small, memory=memory) == simulate(
        kernel, processor=small, memory=memory, plainly=True
    )


def test_long_loops_are_cut(processor: ProcessorSpec) -> None:
    small = with_ldm(processor, 4096)
    timing = simulate(IntegerGemm(256, 256, 16_384, "int8"), processor=small)
    depth = [loop for loop in timing.loops if loop.name == "depth"]
    assert sum(loop.simulated for loop in depth) < 0.5 * sum(loop.iterations for loop in depth)


@pytest.mark.timing
@pytest.mark.parametrize(
    "kernel",
    [
        DynamicStep(60_000, "fp64", "int16", 4),
        Quantise(9_000, 2, "int8", "fp64", "stochastic"),
        Dequantise(9_000, 3, "int8"),
        IntegerGemm(130, 33, 70, "int16"),
        IntegerSum(9_000, 2, "int16"),
        IntegerDepthwise(PatchWindow.of(Window(20, 9, 9, 16, (3, 3), 1, 1)), "int8"),
    ],
    ids=named,
)
def test_every_wait_is_needed(kernel: Kernel, processor: ProcessorSpec) -> None:
    check_every_wait(kernel, with_ldm(processor, 2048), more_than=3)


@pytest.mark.parametrize("kernel", [Quantise(8, 3, "int8"), IntegerGemm(8, 8, 8, "int8")], ids=named)
def test_what_does_not_fit_is_an_error_with_sizes(kernel: Kernel, processor: ProcessorSpec) -> None:
    with pytest.raises(InfeasiblePlan) as caught:
        KernelClock(with_ldm(processor, 128)).time(kernel)
    assert caught.value.needed > caught.value.available == 128


def test_the_planned_ldm_is_what_is_allocated(processor: ProcessorSpec) -> None:
    gemm = IntegerGemm(512, 512, 512, "int16")
    planned = ldm_bytes(plan_integer_gemm(gemm, processor), 2)
    assert planned - 32 <= KernelClock(processor).time(gemm).ldm_high_water <= planned <= processor.cpe.ldm_bytes


@pytest.mark.numeric
def test_counts_are_of_real_elements_only(processor: ProcessorSpec) -> None:
    """Rows that only fill a tile up have a bias too, and it may not be counted."""
    gemm = IntegerGemm(3, 2, 5, "int8")
    arrays = data_for(gemm)
    arrays["a"][...], arrays["b"][...] = 0, 1
    arrays["bias"][...], arrays["multiplier"][...] = [1000, 10], 1.0
    simulate(gemm, processor=processor, data=arrays)
    assert arrays["c"].tolist() == [[127, 10]] * 3
    assert arrays["saturated"].tolist() == [0, 3]
    arrays["a"][...], arrays["b"][...], arrays["bias"][...] = 127, 127, [2**31 - 1, -(2**31)]
    simulate(gemm, processor=processor, data=arrays)
    assert arrays["saturated"].tolist() == [3, 6], "the first column leaves 32 bits; both leave 8"


@pytest.mark.numeric
def test_the_kernel_rounds_as_the_library_does(processor: ProcessorSpec) -> None:
    x = np.random.default_rng(0).standard_normal((900, 1))
    kernel = Quantise(900, 1, "int16", "fp64", "stochastic")
    arrays = {**data_for(kernel), "x": x, "step": np.array([2.0**-8]), "key": np.array(key_numbers(77 << 40 | 5))}
    simulate(kernel, processor=processor, data=arrays)
    expected, outside = quantise(x, 2.0**-8, "int16", rounding="stochastic", key=77 << 40 | 5)
    assert np.array_equal(arrays["q"], expected)
    assert outside == arrays["saturated"][0] == 0


@pytest.mark.timing
def test_narrow_numbers_save_bytes_and_random_ones_cost_instructions(processor: ProcessorSpec) -> None:
    clock = KernelClock(processor)
    moved = {
        dtype: (timing.get_bytes, timing.put_bytes, timing.ticks)
        for dtype in ("int16", "int8")
        for timing in [clock.time(IntegerGemm(1024, 1024, 1024, dtype))]  # type: ignore[arg-type]
    }
    assert moved["int8"][1] == pytest.approx(moved["int16"][1] / 2, rel=0.01)
    double = clock.time(Gemm(1024, 1024, 1024, "fp64"))
    assert moved["int16"][0] < double.get_bytes / 2
    assert moved["int16"][2] < 1.5 * double.ticks, "as many multiply-adds per cycle"
    nearest, stochastic = (
        clock.time(Quantise(200_000, 1, "int16", "fp32", rounding)).ticks  # type: ignore[arg-type]
        for rounding in ("nearest", "stochastic")
    )
    assert stochastic > 1.2 * nearest


class TestDoubleArithmeticOnSingles:
    """fp32 in memory and in the LDM, computed with in fp64 and rounded when put: the kernels of fp32, their time."""

    @pytest.mark.numeric
    @pytest.mark.parametrize(
        "kernel",
        [Gemm(m=70, n=65, k=900, dtype="fp32"), Elementwise("sgd", 5000, "fp32"), Elementwise("adam", 700, "fp32")],
        ids=named,
    )
    def test_results_are_those_of_fp64_rounded_once(self, kernel: Gemm, processor: ProcessorSpec) -> None:
        arrays = data_for(kernel)
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        kernel.reference(wide)
        single = {name: array.copy() for name, array in arrays.items()}
        plain = simulate(kernel, processor=processor, data=single)
        mixed = simulate(kernel, processor=processor, data=arrays, arithmetic=np.dtype(np.float64))
        assert mixed == plain == KernelClock(processor).time(kernel)
        differ = 0
        for name, array in arrays.items():
            assert array.dtype == np.float32
            rounded = wide[name].astype(np.float32)
            assert np.abs(array - rounded).max() <= np.spacing(np.abs(rounded)).max(), name
            assert np.mean(array != rounded) < 1e-3, "sums in another order round apart once in a while"
            differ += int(np.count_nonzero(single[name] != rounded))
        assert differ > 0, "fp32 arithmetic is another thing"
