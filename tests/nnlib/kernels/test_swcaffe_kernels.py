"""The kernels of swCaffe's convolutions: im2col by rows, and the implicit plan with single buffers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.caffe_order import RowIm2col
from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.implicit.implicit_single import LDM_BUDGET, SingleBuffered, held_pixels
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.kernels.simulation import simulate
from nnlib.kernels.window import Window
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait

SMALL = Convolution(batch=10, ni=9, no=12, ri=3, ci=3, kr=2, kc=2, padding=1)


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def check(kernel: Kernel, processor: ProcessorSpec) -> None:
    """Tiles compute the reference; cut loops take the time of whole ones."""
    timing = check_tiles(kernel, processor)
    cut = simulate(kernel, processor=processor)
    assert (cut.ticks, cut.get_bytes, cut.put_bytes, cut.flops) == (
        timing.ticks,
        timing.get_bytes,
        timing.put_bytes,
        timing.flops,
    )


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    kr, kc, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return Convolution(
        batch=draw(st.integers(1, 20)),
        ni=draw(st.integers(1, 20)),
        no=draw(st.integers(1, 20)),
        ri=draw(st.integers(dilation * (kr - 1) + 1, 9)),
        ci=draw(st.integers(dilation * (kc - 1) + 1, 9)),
        kr=kr,
        kc=kc,
        padding=draw(st.integers(0, 2)),
        dilation=dilation,
    )


kinds = {"which": st.sampled_from(PASSES), "dtype": st.sampled_from(["fp64", "fp32"])}


@pytest.mark.numeric
@settings(max_examples=2, deadline=None)
@given(convolution=convolutions(), **kinds)
def test_the_implicit_plan_computes_the_reference(convolution: Convolution, which: Pass, dtype: DTypeName) -> None:
    kernel = SingleBuffered(convolution=convolution, which=which, dtype=dtype)
    check(kernel, load_machine("sunway_taihulight").processor)


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=25, deadline=None)
@given(convolution=convolutions(), **kinds)
def test_the_implicit_plan_computes_the_reference_in_more_shapes(
    convolution: Convolution, which: Pass, dtype: DTypeName
) -> None:
    kernel = SingleBuffered(convolution=convolution, which=which, dtype=dtype)
    check(kernel, load_machine("sunway_taihulight").processor)


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=12, deadline=None)
@given(
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    more=st.tuples(st.integers(0, 12), st.integers(0, 9)),
    batch=st.integers(1, 3),
    channels=st.integers(1, 20),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dtype=st.sampled_from(["fp64", "fp32"]),
)
def test_im2col_by_rows_computes_the_reference(
    taps: tuple[int, int],
    more: tuple[int, int],
    batch: int,
    channels: int,
    stride: int,
    padding: int,
    dtype: DTypeName,
) -> None:
    height, width = (each + further for each, further in zip(taps, more, strict=True))
    window = Window(batch, height, width, channels, taps, stride, padding)
    check(RowIm2col(window, dtype), load_machine("sunway_taihulight").processor)


ONE_OF_EACH = [
    *(SingleBuffered(convolution=SMALL, which=which, dtype="fp32") for which in PASSES),
    RowIm2col(Window(1, 9, 6, 20, (3, 3), 1, 1), "fp32"),
]


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("kernel", ONE_OF_EACH, ids=lambda kernel: kernel.name)
def test_every_wait_is_needed(kernel: Kernel, processor: ProcessorSpec) -> None:
    check_every_wait(kernel, processor, more_than=3)


@pytest.mark.slow
def test_sums_fill_what_the_operands_leave(processor: ProcessorSpec) -> None:
    """R-swDNN1's formula: (64 · 60 KB / 8 B - Ni·B - Ni·No) / (No·B) pixels."""
    kernel = SingleBuffered(convolution=Convolution(batch=128, ni=256, no=256, ri=56, ci=56, kr=3, kc=3), dtype="fp32")
    expected = (64 * LDM_BUDGET // 8 - 256 * 128 - 256 * 256) // (256 * 128)
    assert held_pixels(kernel, processor) == expected == 12
    timing = simulate(replace(kernel, convolution=replace(kernel.convolution, ri=4)), processor=processor)
    assert timing.ldm_high_water <= LDM_BUDGET


def test_channels_that_do_not_fit_are_an_error_with_sizes(processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=128, ni=1024, no=1024, ri=4, ci=4, kr=3, kc=3)
    with pytest.raises(InfeasiblePlan) as caught:
        held_pixels(SingleBuffered(convolution=convolution, dtype="fp32"), processor)
    assert caught.value.needed > caught.value.available == LDM_BUDGET


@pytest.mark.parametrize("convolution", [replace(SMALL, stride=2), replace(SMALL, ni=10, groups=2)])
def test_strides_and_groups_are_not_taken(convolution: Convolution, processor: ProcessorSpec) -> None:
    with pytest.raises(UnsuitablePlan, match="neither strides nor groups"):
        simulate(SingleBuffered(convolution=convolution, dtype="fp32"), processor=processor)


def test_nothing_overlaps(processor: ProcessorSpec) -> None:
    """A slower memory costs as much as its lines."""
    kernel = SingleBuffered(convolution=replace(SMALL, ri=8, ci=8), dtype="fp32")
    slower = replace(processor, dma=replace(processor.dma, line_seconds=3 * processor.dma.line_seconds))
    assert simulate(kernel, processor=slower).ticks > 1.1 * simulate(kernel, processor=processor).ticks
