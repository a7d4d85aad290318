"""Layout transforms: every order into pixel-major and back, on ragged shapes, at the speed of memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.arranging.layout import (
    Transpose,
    from_pixel_major,
    to_pixel_major,
    weights_from_pixel_major,
    weights_to_pixel_major,
)
from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.implicit import pixel_major
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.order import Order, from_channels_last, to_channels_last
from nnlib.kernels.simulation import simulate
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.waits import check_every_wait


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def transposed(kernel: Transpose, source: Array, processor: ProcessorSpec) -> Array:
    """What the kernel makes of ``source``; in the same time as without numbers."""
    x, y = kernel.parameters()
    data = {"x": source.reshape(x.shape), "y": np.full(y.shape, np.nan, dtype=source.dtype)}
    timing = simulate(kernel, processor=processor, data=data)
    assert simulate(kernel, processor=processor) == timing
    return data["y"]


@pytest.mark.numeric
@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 70),
    rows=st.integers(1, 6),
    columns=st.integers(1, 9),
    channels=st.integers(1, 20),
    dtype=st.sampled_from(["fp64", "fp32"]),
    order=st.sampled_from(["channels-last", "channels-first"]),
)
def test_images_come_into_pixel_major_order_and_back(
    batch: int, rows: int, columns: int, channels: int, dtype: DTypeName, order: Order
) -> None:
    processor = load_machine("sunway_taihulight").processor
    last = np.random.default_rng(1).standard_normal((batch, rows, columns, channels)).astype(DTYPES[dtype])
    source = np.ascontiguousarray(from_channels_last(order, last))
    sizes = {"batch": batch, "rows": rows, "columns": columns, "channels": channels}
    expected = pixel_major.images_to_pixel_major(last)
    there = transposed(to_pixel_major(order=order, dtype=dtype, **sizes), source, processor).reshape(expected.shape)
    assert np.array_equal(there, expected)
    back = transposed(from_pixel_major(order=order, dtype=dtype, **sizes), there, processor).reshape(source.shape)
    assert np.array_equal(to_channels_last(order, back), last)


@pytest.mark.numeric
def test_weights_come_into_pixel_major_order_and_back(processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=1, ni=130, no=70, ri=5, ci=5, kr=3, kc=2, groups=2)
    weight = np.random.default_rng(1).standard_normal(convolution.weight_shape)
    there = transposed(weights_to_pixel_major(convolution, "fp64"), weight, processor)
    expected = pixel_major.swap_weight_order(weight)
    assert np.array_equal(there.reshape(expected.shape), expected)
    back = transposed(weights_from_pixel_major(convolution, "fp64"), there, processor)
    assert np.array_equal(back.reshape(weight.shape), weight)


@pytest.mark.timing
def test_a_large_transform_is_memory_bound_and_repeats(processor: ProcessorSpec) -> None:
    kernel = to_pixel_major(order="channels-last", batch=128, rows=16, columns=16, channels=64, dtype="fp64")
    timing = simulate(kernel, processor=processor)
    assert timing == simulate(kernel, processor=processor, plainly=True)
    assert timing.get_bytes == timing.put_bytes == 128 * 16 * 16 * 64 * 8
    seconds = timing.ticks / 1000 / processor.clock_hertz
    ceiling = processor.dma.line_bytes / processor.dma.line_seconds
    assert 0.6 * ceiling < (timing.get_bytes + timing.put_bytes) / seconds < ceiling


@pytest.mark.timing
@pytest.mark.parametrize(("rows", "columns"), [(6400, 100), (6401, 300), (700, 6500), (129, 70_001)])
def test_tiles_that_repeat_take_the_time_of_all(rows: int, columns: int, processor: ProcessorSpec) -> None:
    kernel = Transpose(matrices=1, rows=rows, columns=columns, dtype="fp64")
    assert simulate(kernel, processor=processor) == simulate(kernel, processor=processor, plainly=True)


@pytest.mark.timing
def test_every_wait_is_needed(processor: ProcessorSpec) -> None:
    kernel = Transpose(matrices=2, rows=300, columns=1100, dtype="fp64")

    check_every_wait(kernel, processor, more_than=6)


def test_an_element_that_does_not_fit_is_an_error_with_sizes(processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=64))
    with pytest.raises(InfeasiblePlan) as caught:
        simulate(Transpose(matrices=1, rows=3, columns=3, dtype="fp64"), processor=small)
    assert caught.value.needed > caught.value.available == 64
