"""Explicit GEMM: im2col and col2im in both data orders, and the whole plan against the convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass, forward, input_gradient, weight_gradient
from nnlib.kernels.convolutions.explicit import explicit, weight_from_channels_last, weight_to_channels_last
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.launch import compute_launches
from nnlib.kernels.order import Order, from_channels_last, to_channels_last
from nnlib.kernels.simulation import simulate
from nnlib.kernels.window import Window
from nnlib.precision import DTypeName
from sim.chip.memory import Array
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.cases import data_for
from tests.nnlib.kernels.shapes import any_convolution
from tests.nnlib.kernels.tiles import relative_error
from tests.nnlib.kernels.waits import check_every_wait

ARRAYS: dict[Pass, tuple[str, str, str]] = {
    "forward": ("x", "weight", "y"),
    "input_gradient": ("grad_y", "weight", "grad_x"),
    "weight_gradient": ("grad_y", "x", "grad_weight"),
}
REFERENCES = {"forward": forward, "input_gradient": input_gradient, "weight_gradient": weight_gradient}
TOLERANCE = {"fp64": 1e-12, "fp32": 1e-5}
ORDERS: tuple[Order, ...] = ("channels-last", "channels-first")


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def in_order(order: Order, name: str, array: Array) -> Array:
    return weight_from_channels_last(order, array) if name == "weight" else from_channels_last(order, array)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("which", PASSES)
@settings(max_examples=15, deadline=None)
@given(shape=any_convolution(kernel=(4, 4), padding=2, pixels=11, ni=5, no=7), dtype=st.sampled_from(["fp64", "fp32"]))
def test_the_plan_computes_the_convolution(shape: Convolution, dtype: DTypeName, which: Pass, order: Order) -> None:
    processor = load_machine("sunway_taihulight").processor
    rng = np.random.default_rng(2)
    first, second, result = ARRAYS[which]
    shapes = {"x": shape.x_shape, "grad_y": shape.y_shape, "weight": shape.weight_shape}
    kind = np.float64 if dtype == "fp64" else np.float32
    inputs = {name: rng.standard_normal(shapes[name]).astype(kind) for name in (first, second)}
    expected = REFERENCES[which](shape, inputs[first], inputs[second])
    arrays = {name: in_order(order, name, array) for name, array in inputs.items()}
    compute_launches(explicit(shape, which, dtype=dtype, order=order), processor=processor, arrays=arrays)
    found = arrays[result]
    if order == "channels-first" and which == "weight_gradient":
        kr, kc, group_ni, no = shape.weight_shape
        found = weight_to_channels_last(order, found.reshape(no, group_ni, kr, kc))
    elif order == "channels-first":
        batch, rows, columns, channels = expected.shape
        found = to_channels_last(order, found.reshape(channels, batch, rows, columns))
    assert relative_error(found.reshape(expected.shape), expected) <= TOLERANCE[dtype]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    dilation, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    height, width = (draw(st.integers(max(1, dilation * (k - 1) + 1 - 2 * padding), 12)) for k in kernel)
    return Window(
        batch=draw(st.integers(1, 5)),
        height=height,
        width=width,
        channels=draw(st.integers(1, 9)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        padding=padding,
        dilation=dilation,
    )


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("kind", [Im2col, Col2im])
@settings(max_examples=25, deadline=None)
@given(window=windows(), dtype=st.sampled_from(["fp64", "fp32"]), order=st.sampled_from(ORDERS))
def test_tiles_compute_the_reference_in_the_same_time(
    window: Window, dtype: DTypeName, order: Order, kind: type[Im2col] | type[Col2im]
) -> None:
    processor = load_machine("sunway_taihulight").processor
    kernel = kind(window, dtype, order)
    data = data_for(kernel)
    expected = {name: array.copy() for name, array in data.items()}
    kernel.reference(expected)
    timing = simulate(kernel, processor=processor, data=data)
    for name, array in data.items():
        assert relative_error(array, expected[name]) <= TOLERANCE[dtype], name
    assert simulate(kernel, processor=processor).ticks == timing.ticks


@pytest.mark.numeric
@pytest.mark.parametrize("order", ORDERS)
def test_col2im_is_the_adjoint_of_im2col(order: Order) -> None:
    window = Window(2, 9, 8, 3, (3, 2), stride=2, padding=1, dilation=2)
    gather, add = Im2col(window, "fp64", order), Col2im(window, "fp64", order)
    x, cols = data_for(gather), data_for(add, seed=1)
    gather.reference(x)
    add.reference(cols)
    assert np.vdot(x["cols"], cols["cols"]) == pytest.approx(np.vdot(x["x"], cols["x"]), rel=1e-12)


def test_a_single_tap_needs_no_columns() -> None:
    shape = Convolution(batch=2, ni=3, no=4, ri=5, ci=5, kr=1, kc=1)
    for which in PASSES:
        assert [launch.kernel.name for launch in explicit(shape, which, dtype="fp64")] == ["gemm"]
    strided = replace(shape, stride=2)
    assert [launch.kernel.name for launch in explicit(strided, "forward", dtype="fp64")] == ["im2col", "gemm"]


@pytest.mark.timing
def test_the_product_is_the_librarys(processor: ProcessorSpec) -> None:
    """The micro-kernel of 2016 takes longer for a step than that of 2019."""
    shape = Convolution(batch=4, ni=256, no=512, ri=14, ci=14, kr=3, kc=3, padding=1)
    old, new = (
        simulate(explicit(shape, "forward", dtype="fp64", library=library)[1].kernel, processor=processor).ticks
        for library in ("swcaffe-2018", "autotuned-2019")
    )
    assert old > 1.1 * new


@pytest.mark.timing
@pytest.mark.parametrize("kind", [Im2col, Col2im])
def test_every_wait_is_needed(kind: type[Im2col] | type[Col2im], processor: ProcessorSpec) -> None:
    kernel = kind(Window(70, 12, 12, 8, (3, 3), 1, 1), "fp64", "channels-first")
    check_every_wait(kernel, processor, more_than=3)


@pytest.mark.timing
@pytest.mark.parametrize("order", ORDERS)
def test_skipped_iterations_take_the_time_of_plain_ones(order: Order, processor: ProcessorSpec) -> None:
    kernel = Im2col(Window(24, 28, 28, 64, (3, 3), 1, 1), "fp32", order)
    plain, quick = simulate(kernel, processor=processor, plainly=True), simulate(kernel, processor=processor)
    assert (quick.ticks, quick.get_bytes, quick.put_bytes) == (plain.ticks, plain.get_bytes, plain.put_bytes)


@pytest.mark.timing
def test_channels_first_puts_long_rows(processor: ProcessorSpec) -> None:
    """Planes of 56 × 56 pixels leave as runs of hundreds of bytes: near the engine's full rate."""
    kernel = Im2col(Window(1, 56, 56, 64, (3, 3), 1, 1), "fp32", "channels-first")
    timing = simulate(kernel, processor=processor)
    rate = (timing.get_bytes + timing.put_bytes) / (timing.ticks / 1000 / processor.clock_hertz)
    assert rate > 0.9 * processor.dma.line_bytes / processor.dma.line_seconds


@pytest.mark.timing
def test_a_large_window_goes_row_of_taps_by_row_of_taps(processor: ProcessorSpec) -> None:
    """All 121 taps at once would leave room for few pixels: its images are read once for each row of taps instead."""
    large = Im2col(Window(1, 227, 227, 3, (11, 11), stride=4), "fp32", "channels-first")
    small = Im2col(Window(1, 56, 56, 3, (3, 3), padding=1), "fp32", "channels-first")
    assert simulate(large, processor=processor).get_bytes > 2.5 * 227 * 227 * 3 * 4
    assert simulate(small, processor=processor).get_bytes < 2 * 56 * 56 * 3 * 4


LARGE = {
    "whole": (Window(2, 9, 8, 3, (5, 5), padding=2), 1),
    "rows of taps": (Window(2, 9, 20, 2, (11, 23), stride=2, padding=11), 11),
    "single taps": (Window(1, 3, 150, 1, (3, 110)), 330),
}
"""Windows, and into how many parts their taps have to be cut."""


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", LARGE)
def test_large_windows_are_added_some_taps_at_a_time(name: str, order: Order, processor: ProcessorSpec) -> None:
    window, parts = LARGE[name]
    kernel = Col2im(window, "fp64", order)
    data = data_for(kernel)
    expected = {each: array.copy() for each, array in data.items()}
    kernel.reference(expected)
    timing = simulate(kernel, processor=processor, data=data)
    assert relative_error(data["x"], expected["x"]) <= TOLERANCE["fp64"]
    plain = simulate(kernel, processor=processor, plainly=True)
    assert (plain.ticks, plain.put_bytes) == (timing.ticks, timing.put_bytes) == (plain.ticks, parts * data["x"].nbytes)


def test_rows_that_do_not_fit_are_an_error_with_sizes(processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=128))
    with pytest.raises(InfeasiblePlan) as caught:
        simulate(Im2col(Window(1, 9, 9, 1, (7, 7)), "fp64", "channels-first"), processor=small)
    assert caught.value.needed > caught.value.available == 128
