"""The scheduler and 64 independent programs agree cycle for cycle, and both compute what NumPy does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.chip.counters import KernelTiming
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.sim.chip.programs import (
    COLUMNS,
    CPES,
    ROWS,
    GemmCase,
    StreamCase,
    gemm_by_cpe,
    gemm_on_group,
    stream_by_cpe,
    stream_on_group,
)

pytestmark = pytest.mark.timing

skews = st.one_of(
    st.just((0,) * CPES),
    st.lists(st.integers(0, 3_000_000), min_size=CPES, max_size=CPES).map(tuple),
)


@st.composite
def gemms(draw: st.DrawFn) -> GemmCase:
    m, n, k = (draw(st.integers(1, 6)) for _ in range(3))
    return GemmCase(
        rows=draw(st.integers(max(1, m * ROWS - 5), m * ROWS)),
        columns=draw(st.integers(max(1, n * COLUMNS - 5), n * COLUMNS)),
        depth=draw(st.integers(1, 3 * k * COLUMNS)),
        m=m,
        n=n,
        k=k,
        double=draw(st.booleans()),
        shift=draw(st.integers(0, 15)),
    )


@st.composite
def streams(draw: st.DrawFn) -> StreamCase:
    height = draw(st.integers(1, 3))
    return StreamCase(
        rows=draw(st.integers(1, 5 * height * CPES)),
        width=draw(st.integers(1, 40)),
        height=height,
        strided=draw(st.booleans()),
        buffers=draw(st.integers(1, 5)),
        synced=draw(st.booleans()),
        cycles=tuple(draw(st.lists(st.integers(0, 900), min_size=CPES, max_size=CPES))),
        shift=draw(st.integers(0, 15)),
    )


def assert_equal(found: KernelTiming, expected: KernelTiming) -> None:
    assert found.finish == expected.finish
    assert found.reasons == expected.reasons
    assert found.ticks == expected.ticks
    assert found.get_bytes == expected.get_bytes
    assert found.put_bytes == expected.put_bytes
    assert found.dma_lines == expected.dma_lines
    assert found.dma_requests == expected.dma_requests
    assert found.ldm_high_water == expected.ldm_high_water


def chip() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def check_gemm(case: GemmCase, start: Sequence[int]) -> None:
    timing, c = gemm_on_group(case, chip(), start)
    reference, reference_c = gemm_by_cpe(case, chip(), start)
    a, b, _ = case.arrays(0)
    expected = a.data @ b.data
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(reference_c, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert_equal(timing, reference)


@settings(max_examples=2, deadline=None)
@given(case=gemms(), start=skews)
def test_gemm(case: GemmCase, start: Sequence[int]) -> None:
    check_gemm(case, start)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(case=gemms(), start=skews)
def test_many_more_gemms(case: GemmCase, start: Sequence[int]) -> None:
    check_gemm(case, start)


def check_streams(case: StreamCase, start: Sequence[int]) -> None:
    timing, y = stream_on_group(case, chip(), start)
    reference, reference_y = stream_by_cpe(case, chip(), start)
    x, expected = case.arrays(0)
    expected.data[:, : case.width] = 2 * x.data[:, : case.width]
    np.testing.assert_array_equal(y, expected.data)
    np.testing.assert_array_equal(reference_y, expected.data)
    assert_equal(timing, reference)


@settings(max_examples=2, deadline=None)
@given(case=streams(), start=skews)
def test_drifting_streams(case: StreamCase, start: Sequence[int]) -> None:
    check_streams(case, start)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(case=streams(), start=skews)
def test_many_more_drifting_streams(case: StreamCase, start: Sequence[int]) -> None:
    check_streams(case, start)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    case=streams(),
    start=skews,
    line=st.integers(1, 40),
    request=st.integers(0, 60),
    channel=st.integers(1, 60),
    pending=st.integers(1, 4),
    least=st.integers(0, 20),
    granule=st.sampled_from([8, 32, 128]),
    extra=st.integers(0, 30),
    buses=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_streams_on_other_machines(
    case: StreamCase,
    start: Sequence[int],
    line: int,
    request: int,
    channel: int,
    pending: int,
    least: int,
    granule: int,
    extra: int,
    buses: tuple[int, int],
) -> None:
    base = chip()
    dma = replace(
        base.dma,
        line_seconds=line * 1e-9,
        request_seconds=request * 1e-9,
        channel_bytes_per_second=channel * 1e9,
        pending_per_cpe=pending,
        block_minimum_seconds=least * 1e-9,
        put_granule_bytes=granule,
        put_line_extra_seconds=extra * 1e-9,
        put_request_extra_seconds=extra * 1e-9,
        put_block_extra_seconds=extra * 1e-9,
        quarter_bytes_per_second=buses[0] * 1e9,
        half_bytes_per_second=buses[1] * 1e9,
    )
    processor = replace(base, dma=dma)
    timing, _ = stream_on_group(case, processor, start)
    reference, _ = stream_by_cpe(case, processor, start)
    assert_equal(timing, reference)
