"""Depthwise kernels and kernels over groups of channels: tiles against the host's operations, waits, skipped loops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_configs import DEFAULT_MACHINE
from nnlib.kernels.chained import Chained, Stage
from nnlib.kernels.convolutions.depthwise import DepthwiseForward, DepthwiseInputGradient, DepthwiseWeightGradient
from nnlib.kernels.convolutions.grouped import Grouped
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.simulation import simulate
from nnlib.ops.reach import reaches
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.cases import patch_windows
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait

KINDS = [DepthwiseForward, DepthwiseInputGradient, DepthwiseWeightGradient]
kinds = pytest.mark.parametrize("kind", KINDS)
precisions = pytest.mark.parametrize("dtype", ["fp64", "fp32"])


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine(DEFAULT_MACHINE).processor


def window(
    batch: int, pixels: tuple[int, int], channels: int, kernel: tuple[int, int], **options: object
) -> PatchWindow:
    rows, columns = reaches(pixels, kernel, **{"stride": 1, "padding": 0, "dilation": 1, **options})  # type: ignore[arg-type]
    return PatchWindow(batch, channels, rows, columns)


TINY = window(1, (1, 1), 1, (1, 1))
RAGGED = window(3, (13, 10), 37, (3, 4), stride=(2, 1), padding=(1, 0, 2, 1), dilation=(1, 2))
LARGE = window(2, (33, 40), 700, (5, 5), padding=2)
SKIPPING = window(2, (11, 12), 20, (1, 2), stride=(4, 3))
CASES = {"tiny": TINY, "ragged": RAGGED, "larger_than_the_ldm": LARGE, "pixels_passed_over": SKIPPING}


@pytest.mark.numeric
@kinds
@precisions
@pytest.mark.parametrize("case", [name for name in CASES if name != "larger_than_the_ldm"])
def test_tiles_are_the_reference(kind: type, case: str, dtype: DTypeName, processor: ProcessorSpec) -> None:
    check_tiles(kind(CASES[case], dtype), processor)


@pytest.mark.slow
@pytest.mark.numeric
@kinds
@precisions
def test_large_ones_are_the_reference(kind: type, dtype: DTypeName, processor: ProcessorSpec) -> None:
    check_tiles(kind(LARGE, dtype), processor)


@pytest.mark.slow
@pytest.mark.numeric
@kinds
@settings(max_examples=30, deadline=None)
@given(case=patch_windows(), dtype=st.sampled_from(["fp64", "fp32"]))
def test_any_window_in_the_same_time_without_data(kind: type, case: PatchWindow, dtype: DTypeName) -> None:
    processor = load_machine(DEFAULT_MACHINE).processor
    timing = check_tiles(kind(case, dtype), processor)
    assert simulate(kind(case, dtype), processor=processor).ticks == timing.ticks


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("kind", [Im2col, Col2im])
@settings(max_examples=20, deadline=None)
@given(
    case=patch_windows(),
    dtype=st.sampled_from(["fp64", "fp32"]),
    order=st.sampled_from(["channels-last", "channels-first"]),
)
def test_columns_of_any_window(kind: type, case: PatchWindow, dtype: DTypeName, order: str) -> None:
    check_tiles(kind(case, dtype, order), load_machine(DEFAULT_MACHINE).processor)


@pytest.mark.timing
@kinds
def test_every_wait_is_needed(kind: type, processor: ProcessorSpec) -> None:
    check_every_wait(kind(window(70, (12, 12), 40, (3, 3), padding=1), "fp64"), processor, more_than=3)


def chain(parts: int) -> Chained:
    part = window(2, (9, 8), 4, (3, 3), padding=1)
    product = Gemm(m=2 * 72, n=5, k=36, dtype="fp64")
    stages = Stage.of(Im2col(part, "fp64"), x="x", cols="cols"), Stage.of(product, a="cols", b="weight", c="y")
    return Chained(label="convolution", stages=stages, parts=parts, divided=("x", "y"))


@pytest.mark.numeric
@pytest.mark.parametrize("parts", [1, 3])
def test_a_chain_goes_part_by_part(parts: int, processor: ProcessorSpec) -> None:
    kernel = chain(parts)
    shapes = {each.name: (each.shape, each.use) for each in kernel.parameters()}
    assert shapes == {
        "x": ((parts, 2, 9, 8, 4), "in"),
        "cols": ((144, 36), "out"),
        "weight": ((36, 5), "in"),
        "y": ((parts, 144, 5), "out"),
    }
    check_tiles(kernel, processor)


@pytest.mark.timing
def test_a_chain_takes_what_its_kernels_take(processor: ProcessorSpec) -> None:
    kernel = chain(4)
    alone = sum(simulate(stage.kernel, processor=processor).ticks for stage in kernel.stages)
    assert simulate(kernel, processor=processor).ticks == pytest.approx(4 * alone, rel=0.05)


GROUPED = [
    Grouped(kernel=Gemm(m=40, n=12, k=18, dtype="fp64"), groups=3, planes=("a",)),
    Grouped(kernel=Gemm(m=9, n=7, k=70, dtype="fp32", transpose_a=True), groups=5, planes=("a",)),
    Grouped(kernel=Gemm(m=40, n=18, k=6, dtype="fp64", transpose_b=True), groups=4, planes=("c",)),
    Grouped(kernel=Im2col(RAGGED, "fp64"), groups=2, planes=("cols",)),
    Grouped(kernel=Col2im(RAGGED, "fp32"), groups=3, planes=("cols",)),
]


@pytest.mark.numeric
@pytest.mark.parametrize("kernel", GROUPED, ids=lambda kernel: f"{kernel.name}-{kernel.groups}")
def test_groups_are_columns_of_the_whole(kernel: Kernel, processor: ProcessorSpec) -> None:
    check_tiles(kernel, processor)


@pytest.mark.timing
@pytest.mark.parametrize(
    "kernel",
    [
        DepthwiseForward(window(24, (28, 28), 64, (3, 3), padding=1), "fp32"),
        DepthwiseInputGradient(window(24, (28, 28), 64, (3, 3), stride=2, padding=1), "fp32"),
        DepthwiseWeightGradient(window(24, (28, 28), 64, (3, 3), padding=1), "fp32"),
        Grouped(kernel=Gemm(m=64, n=12, k=18, dtype="fp64"), groups=12, planes=("a",)),
    ],
    ids=lambda kernel: kernel.name,
)
def test_skipped_iterations_take_the_time_of_plain_ones(kernel: Kernel, processor: ProcessorSpec) -> None:
    plain, quick = simulate(kernel, processor=processor, plainly=True), simulate(kernel, processor=processor)
    assert (quick.ticks, quick.get_bytes, quick.put_bytes) == (plain.ticks, plain.get_bytes, plain.put_bytes)


@pytest.mark.timing
def test_a_depthwise_layer_moves_far_less_than_its_columns(processor: ProcessorSpec) -> None:
    case = window(2, (28, 28), 128, (3, 3), padding=1)
    timing, columns = (simulate(kind(case, "fp32"), processor=processor) for kind in (DepthwiseForward, Im2col))
    images = 4 * 2 * 28 * 28 * 128
    assert timing.put_bytes == images
    assert images <= timing.get_bytes < 3 * images
    assert 2 * timing.ticks < columns.ticks
