"""Kernels on a chip whose CPEs reach one another's LDM, in both formats."""

from dataclasses import replace

import pytest

from nnlib.kernels.attention.attention import Attention
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.convolutions.plans import Task, build_all
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.simulation import simulate
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.tiles import check_tiles


@pytest.fixture(scope="module")
def chip() -> ProcessorSpec:
    return load_machine("sunway_oceanlight").processor


def seconds(kernel: Kernel, chip: ProcessorSpec) -> int:
    return max(simulate(kernel, processor=chip).finish)


@pytest.mark.timing
@pytest.mark.parametrize("library", ["swcaffe-2018", "autotuned-2019"])
def test_products_in_fp32_take_half_as_long(library: str, chip: ProcessorSpec) -> None:
    double = Gemm(2048, 512, 1024, "fp64", library=library)  # type: ignore[arg-type]
    single = replace(double, dtype="fp32")
    assert seconds(single, chip) == pytest.approx(seconds(double, chip) / 2, rel=0.1)


@pytest.mark.timing
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_cut_loops_take_as_long_as_plain_ones(dtype: DTypeName, chip: ProcessorSpec) -> None:
    gemm = Gemm(1536, 1024, 1024, dtype)
    fast, plain = simulate(gemm, processor=chip), simulate(gemm, processor=chip, plainly=True)
    assert fast.finish == plain.finish
    assert sum(each.simulated for each in fast.loops) < sum(each.simulated for each in plain.loops)


@pytest.mark.numeric
@pytest.mark.parametrize(
    "which", ["forward", *(pytest.param(each, marks=pytest.mark.slow) for each in PASSES if each != "forward")]
)
def test_plans_of_a_convolution_compute_without_conversion(which: Pass, chip: ProcessorSpec) -> None:
    convolution = Convolution(batch=8, ni=16, no=24, ri=6, ci=6, kr=3, kc=3, stride=1, padding=1)
    task = Task(convolution=convolution, which=which, dtype="fp32", library="autotuned-2019", core_groups=1)
    found, _ = build_all(task, chip)
    assert {"image-size-aware", "batch-size-aware", "explicit", "winograd"} <= set(found)
    for launch in (each for launches in found.values() for each in launches):
        check_tiles(launch.kernel, chip)


@pytest.mark.numeric
def test_attention_and_products_compute_in_fp32(chip: ProcessorSpec) -> None:
    shape = AttentionShape(
        batch=2, heads=2, queries=21, keys=34, depth=5, value_depth=7, dtype="fp32", scale=0.4, causal=True
    )
    check_tiles(Attention(shape), chip)
    check_tiles(Gemm(200, 120, 90, "fp32", transpose_b=True), chip)
