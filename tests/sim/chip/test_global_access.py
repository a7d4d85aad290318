"""Loads and stores without DMA: latency, the memory's rate for single transactions, alignment; named chip errors."""

from __future__ import annotations

import numpy as np
import pytest

from sim.chip.core_group import CoreGroup
from sim.chip.counters import KernelTiming
from sim.chip.cpe_program import Cpe, Program, run_programs
from sim.chip.errors import Deadlock, LdmOverflow, UnalignedAccess
from sim.chip.global_access import GlobalAccess
from sim.chip.memory import AddressSpace, MemoryArray
from sim.chip.scheduler import schedule
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

FP64 = np.dtype(np.float64)
OUTSIDE = 1 << 30


def vector_of(elements: int, *, offset: int = 0) -> MemoryArray:
    return AddressSpace(offset=offset).place_data(name="x", data=np.arange(float(elements)))


def loads(
    processor: ProcessorSpec, *, elements: int, cpes: int = 64, times: int = 1, width: int = 1, streams: int = 1
) -> tuple[list[Tile], KernelTiming]:
    """``cpes`` CPEs load ``elements`` each, ``streams`` of them side by side."""
    group = CoreGroup(processor=processor)
    array = vector_of(64 * elements)
    starts = np.full((64, 1), OUTSIDE)
    starts[:cpes, 0] = np.arange(cpes) * elements
    tiles = [group.alloc(f"t{number}", size=(elements,), dtype=FP64) for number in range(streams)]
    group.global_load("load", *(GlobalAccess(tile, array, starts, times, width) for tile in tiles))
    return tiles, schedule(trace=group.finish(), processor=processor)


@pytest.mark.parametrize("streams", [1, 2])
def test_a_single_cpe_waits_the_latency_of_each_load(streams: int, processor: ProcessorSpec) -> None:
    _, one = loads(processor, elements=1, cpes=1, streams=streams)
    assert one.ticks == 177_000
    tiles, many = loads(processor, elements=10, cpes=1, times=3, streams=streams)
    assert many.ticks == 30 * 177_000, "loads issued side by side wait together"
    assert many.get_bytes == streams * 30 * 8
    np.testing.assert_array_equal(tiles[-1].values()[0], np.arange(10.0))


def test_a_store_after_a_load_makes_278_cycles(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    source, target = vector_of(64), AddressSpace().place_data(name="y", data=np.zeros(64))
    starts = np.full((64, 1), OUTSIDE)
    starts[5, 0] = 7
    tile = group.alloc("t", size=(1,), dtype=FP64)
    group.global_load("load", GlobalAccess(tile, source, starts))
    group.global_store("store", GlobalAccess(tile, target, starts))
    timing = schedule(trace=group.finish(), processor=processor)
    assert timing.ticks == 278_000
    assert target.data is not None
    np.testing.assert_array_equal(target.data, np.where(np.arange(64) == 7, 7.0, 0.0))


@pytest.mark.parametrize(("width", "published"), [(1, 1.48e9), (4, 8e9)])
def test_all_cpes_share_the_rate_of_single_transactions(width: int, published: float, processor: ProcessorSpec) -> None:
    _, timing = loads(processor, elements=64, times=8, width=width)
    seconds = timing.ticks / 1000 / processor.clock_hertz
    transactions = 64 * 64 * 8 // width
    assert timing.dma_lines == transactions
    assert seconds == pytest.approx(transactions * processor.dma.line_seconds, rel=0.02)
    assert timing.get_bytes / seconds == pytest.approx(published, rel=0.2)


@pytest.mark.parametrize("width", [1, 4])
def test_loads_beside_dma_take_what_64_programs_take(width: int, processor: ProcessorSpec) -> None:
    array = vector_of(64 * 64)
    drift = [37.0 * (cpe * 29 % 64) for cpe in range(64)]

    def program(cpe: Cpe) -> Program:
        values, buffer = (cpe.alloc(name, size=(32,), dtype=FP64) for name in ("values", "buffer"))
        for step in range(3):
            yield from cpe.compute(drift[cpe.id] * (step + 1))
            transfer = yield from cpe.get(buffer, array, (64 * cpe.id,))
            yield from cpe.wait(transfer)
            yield from cpe.global_load(values, array, (64 * cpe.id + 32,), times=3, width=width)
            assert values.values()[0] == 64 * cpe.id + 32

    plain = run_programs(program, processor=processor)
    group = CoreGroup(processor=processor)
    values, buffer = (group.alloc(name, size=(32,), dtype=FP64) for name in ("values", "buffer"))
    starts = 64 * np.arange(64)[:, None]
    for step in range(3):
        group.compute("drift", cycles=[each * (step + 1) for each in drift])
        group.wait(group.get(buffer, array, starts))
        group.global_load("load", GlobalAccess(values, array, starts + 32, 3, width))
    timing = schedule(trace=group.finish(), processor=processor)
    assert timing.finish == plain.finish
    assert timing.reasons == plain.reasons
    assert (timing.get_bytes, timing.dma_lines) == (plain.get_bytes, plain.dma_lines)


def test_a_vector_at_an_unaligned_address_is_an_error_with_names_and_sizes(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor, kernel="direct convolution")
    array = vector_of(1000, offset=16)
    tile = group.alloc("t", size=(8,), dtype=FP64)
    starts = np.arange(64)[:, None] * 8 + 2
    starts[9] = 3
    message = r"kernel 'direct convolution', CPE \(1, 1\) accesses 'x' \(1000,\) at byte 40 for 't' \(8,\) .* 32 B"
    with pytest.raises(UnalignedAccess, match=message):
        group.global_load("load", GlobalAccess(tile, array, starts, width=4))
    starts[9] = 2
    group.global_load("load", GlobalAccess(tile, array, starts, width=4))


def test_rows_of_a_buffer_that_are_not_padded_are_an_error_under_vectors(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor, kernel="gemm")
    odd, padded, single = (
        group.alloc(name, size=size, dtype=FP64)
        for name, size in (("odd", (3, 6)), ("padded", (3, 8)), ("single", (1, 6)))
    )
    group.compute("fill", cycles=0, writes=[odd, padded, single])
    group.compute("multiply", cycles=1, vectors=[padded, single])
    message = r"kernel 'gemm', CPE \(0, 0\) in 'multiply' loads vectors of 32 B from rows of 48 B of LDM buffer 'odd'"
    with pytest.raises(UnalignedAccess, match=message):
        group.compute("multiply", cycles=1, vectors=[odd])


def test_an_overflow_names_kernel_cpes_buffer_and_sizes(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor, kernel="gemm")
    group.alloc("a", size=(4096,), dtype=FP64)
    message = (
        r"kernel 'gemm', CPE \(0, 0\) to \(7, 7\): LDM buffer 'b' of 40000 B does not fit: "
        r"32768 of 65536 B are in use \(a 32768 B\)"
    )
    with pytest.raises(LdmOverflow, match=message):
        group.alloc("b", size=(5000,), dtype=FP64)


def test_a_deadlock_names_kernel_cpes_buffers_and_sizes(processor: ProcessorSpec) -> None:
    def stencil(cpe: Cpe) -> Program:
        cpe.alloc("halo", size=(16,), dtype=FP64)
        if cpe.row != 2:
            yield from cpe.column_broadcast(0, 1.0)

    message = r"kernel 'stencil': 56 CPEs wait for ever: CPE \(0, 0\) in column broadcast from row 0, LDM: 'halo' 128 B"
    with pytest.raises(Deadlock, match=message):
        run_programs(stencil, processor=processor)
