"""The gradient of max pooling in blocks of pixels: equal to whole images, ties and sums across borders included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.reducing.pooling import MaxPoolGradient
from nnlib.kernels.simulation import empty_arrays, simulate
from nnlib.kernels.window import Window
from nnlib.ops.pooling import max_pool_backward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.counters import KernelTiming
from sim.chip.memory import Array, MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from sim.time import TICKS_PER_CYCLE
from tests.nnlib.kernels.waits import check_every_wait

ALEXNET = Window(batch=4, height=55, width=55, channels=96, kernel=(3, 3), stride=2)
LARGE = Window(batch=4, height=112, width=112, channels=64, kernel=(3, 3), stride=2)


def with_ldm(size: int) -> ProcessorSpec:
    """CPEs with ``size`` bytes of LDM: the less, the more blocks."""
    processor = load_machine("sunway_taihulight").processor
    return replace(processor, cpe=replace(processor.cpe, ldm_bytes=size))


def pooled_shape(window: Window) -> tuple[int, ...]:
    return window.batch, window.out_height, window.out_width, window.channels


def run(kernel: MaxPoolGradient, x: Array, grad_y: Array, processor: ProcessorSpec) -> tuple[Array, KernelTiming]:
    """``grad_x`` as the tiles compute it, NaN before, and the time."""
    data = {**empty_arrays(kernel), "x": x, "grad_y": grad_y}
    timing = simulate(kernel, processor=processor, data=data)
    return data["grad_x"], timing


@st.composite
def cases(draw: st.DrawFn) -> tuple[MaxPoolGradient, int, int]:
    """Windows apart, side by side and overlapping, on images with ragged edges; bytes of LDM; how many values occur."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    window = Window(
        batch=draw(st.integers(1, 3)),
        height=draw(st.integers(kernel[0], 19)),
        width=draw(st.integers(kernel[1], 19)),
        channels=draw(st.integers(1, 5)),
        kernel=kernel,
        stride=draw(st.integers(1, 4)),
    )
    dtype: DTypeName = draw(st.sampled_from(["fp64", "fp32"]))
    return MaxPoolGradient(window, dtype), draw(st.sampled_from([1536, 2048, 4096, 65536])), draw(st.integers(1, 3))


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=30, deadline=None)
@given(case=cases(), seed=st.integers(0, 1000))
def test_blocks_give_what_whole_images_give_to_the_last_bit(case: tuple[MaxPoolGradient, int, int], seed: int) -> None:
    kernel, ldm, values = case
    window, dtype = kernel.window, DTYPES[kernel.dtype]
    rng = np.random.default_rng(seed)
    image = (window.batch, window.height, window.width, window.channels)
    x = rng.integers(0, values, image).astype(dtype)
    grad_y = rng.standard_normal(pooled_shape(window)).astype(dtype)
    processor = with_ldm(ldm)
    found, timing = run(kernel, x, grad_y, processor)
    assert np.array_equal(found, max_pool_backward(x, grad_y, window.kernel, window.stride))
    assert KernelClock(processor).time(kernel) == timing
    assert timing.ldm_high_water <= ldm


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_of_equal_pixels_on_both_sides_of_a_border_the_first_wins(dtype: DTypeName) -> None:
    window = Window(batch=2, height=17, width=18, channels=1, kernel=(3, 3), stride=2)
    x = np.ones((2, 17, 18, 1), dtype=DTYPES[dtype])
    grad_y = np.arange(1, 2 * 8 * 8 + 1, dtype=DTYPES[dtype]).reshape(2, 8, 8, 1)
    found, timing = run(MaxPoolGradient(window, dtype), x, grad_y, with_ldm(1536))
    expected = np.zeros_like(x)
    expected[:, :16:2, :16:2] = grad_y
    assert np.array_equal(found, expected)
    assert timing.get_bytes > x.nbytes + grad_y.nbytes, "no block has got pixels of another"


@pytest.mark.numeric
def test_a_pixel_at_a_corner_of_four_blocks_collects_from_all_its_windows() -> None:
    window = Window(batch=1, height=17, width=17, channels=1, kernel=(3, 3), stride=2)
    x = np.zeros((1, 17, 17, 1))
    x[0, ::4, ::4] = 1  # each is the largest of the up to four windows that it is a corner of
    grad_y = np.random.default_rng(0).integers(1, 100, (1, 8, 8, 1)).astype(float)
    found, timing = run(MaxPoolGradient(window, "fp64"), x, grad_y, with_ldm(1024))
    around = np.pad(grad_y[0, :, :, 0], 1)
    expected = np.zeros_like(x)
    expected[0, ::4, ::4, 0] = (around[:-1, :-1] + around[1:, :-1] + around[:-1, 1:] + around[1:, 1:])[::2, ::2]
    assert np.array_equal(found, expected)
    assert timing.get_bytes > x.nbytes + grad_y.nbytes


@pytest.mark.numeric
@pytest.mark.parametrize("ldm", [1024, 65536])
def test_pixels_under_no_window_get_zero(ldm: int) -> None:
    window = Window(batch=1, height=21, width=16, channels=3, kernel=(2, 1), stride=3)
    x, grad_y = np.ones((1, 21, 16, 3)), np.ones((1, 7, 6, 3))
    found, _ = run(MaxPoolGradient(window, "fp64"), x, grad_y, with_ldm(ldm))
    assert found.sum() == grad_y.sum()
    assert np.all(found[:, ::3, ::3] == 1)


@pytest.mark.timing
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("window", [ALEXNET, LARGE], ids=["55x55", "112x112"])
def test_overlapping_windows_on_large_images_are_near_the_bandwidth(window: Window, dtype: DTypeName) -> None:
    processor = load_machine("sunway_taihulight").processor
    kernel = MaxPoolGradient(window, dtype)
    timing = KernelClock(processor).time(kernel)
    item, dma = DTYPES[dtype].itemsize, processor.dma
    pixels = window.batch * window.height * window.width * window.channels * item
    once = 2 * pixels + int(np.prod(pooled_shape(window))) * item
    assert timing.put_bytes == pixels
    moved = timing.get_bytes + timing.put_bytes
    assert once < moved < 2.3 * once, "halos are no more than what they surround"
    seconds = timing.ticks / (processor.clock_hertz * TICKS_PER_CYCLE)
    lines = moved / dma.line_bytes
    assert lines < seconds / dma.line_seconds < 1.25 * lines


@pytest.mark.timing
@pytest.mark.parametrize("mode", [pytest.param("private", marks=pytest.mark.slow), "shared"])
def test_loops_are_cut_short_exactly(mode: str) -> None:
    memory = MemoryUse(mode="shared", active=4, base_offset=16) if mode == "shared" else MemoryUse()
    kernel = MaxPoolGradient(Window(batch=40, height=13, width=14, channels=8, kernel=(3, 3), stride=2), "fp64")
    processor = with_ldm(4096)
    plainly = simulate(kernel, processor=processor, memory=memory, plainly=True)
    assert simulate(kernel, processor=processor, memory=memory) == plainly


def test_an_ldm_for_no_block_is_an_error_with_sizes() -> None:
    kernel = MaxPoolGradient(Window(batch=1, height=9, width=9, channels=1, kernel=(3, 3), stride=2), "fp64")
    with pytest.raises(InfeasiblePlan) as caught:
        KernelClock(with_ldm(256)).time(kernel)
    assert caught.value.needed > caught.value.available == 256


@pytest.mark.timing
@pytest.mark.parametrize("window", [(3, 3), (2, 2)], ids=["overlapping", "side by side"])
def test_every_wait_is_needed(window: tuple[int, int]) -> None:
    kernel = MaxPoolGradient(Window(batch=5, height=18, width=18, channels=3, kernel=window, stride=2), "fp32")
    processor = with_ldm(1024)
    check_every_wait(kernel, processor, more_than=8)
