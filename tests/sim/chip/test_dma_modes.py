"""DMA modes that serve several CPEs: numbers arrive everywhere, lines cost once, all wait for the asking CPE."""

from __future__ import annotations

import numpy as np
import pytest

from sim.chip.core_group import CoreGroup
from sim.chip.counters import KernelTiming
from sim.chip.cpe_program import Cpe, Program, run_programs
from sim.chip.dma_modes import DmaMode
from sim.chip.errors import ModeNotAllowed
from sim.chip.memory import AddressSpace, MemoryArray
from sim.chip.scheduler import schedule
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

FP64 = np.dtype(np.float64)
SPLITS = {
    "BCAST": Split(),
    "ROW": Split(rows=0, columns=1),
    "BROW": Split(columns=1),
    "RANK": Split(rows=0, columns=1),
}


def matrix() -> MemoryArray:
    return AddressSpace().place_data(name="x", data=np.arange(128.0 * 256).reshape(128, 256))


def fetched(processor: ProcessorSpec, mode: DmaMode, split: Split) -> tuple[Tile, KernelTiming]:
    group = CoreGroup(processor=processor)
    tile = group.alloc("t", size=(4, 16), dtype=FP64, split=split)
    group.compute("drift", cycles=[10.0 * cpe for cpe in range(64)])
    group.wait(group.get(tile, matrix(), (3, 32), mode=mode))
    return tile, schedule(trace=group.finish(), processor=processor)


@pytest.mark.parametrize("mode", ["BCAST", "ROW", "BROW", "RANK"])
def test_the_numbers_are_those_of_single_requests_and_the_lines_cost_once(
    mode: DmaMode, processor: ProcessorSpec
) -> None:
    tile, timing = fetched(processor, mode, SPLITS[mode])
    alone, single = fetched(processor, "PE", SPLITS[mode])
    np.testing.assert_array_equal(tile.values(), alone.values())
    copies = {"BCAST": 64, "BROW": 8}.get(mode, 1)
    assert single.get_bytes == copies * timing.get_bytes
    assert single.dma_lines == copies * timing.dma_lines
    assert timing.dma_requests == {"BCAST": 1, "BROW": 1, "RANK": 1, "ROW": 8}[mode]


def test_a_broadcast_is_a_meeting_a_request_and_a_meeting(processor: ProcessorSpec) -> None:
    array = matrix()

    def program(cpe: Cpe) -> Program:
        buffer = cpe.alloc("t", size=(4, 16), dtype=FP64)
        yield from cpe.compute(10.0 * cpe.id)
        yield from cpe.sync()
        if cpe.id == 0:
            transfer = yield from cpe.get(buffer, array, (3, 32))
            yield from cpe.wait(transfer)
        yield from cpe.sync()

    plain = run_programs(program, processor=processor)
    _, timing = fetched(processor, "BCAST", Split())
    assert timing.finish == plain.finish
    assert timing.reasons == plain.reasons
    assert timing.dma_lines == plain.dma_lines == 4
    assert len(set(timing.finish)) == 1, "all hear of it together"


def test_rows_are_independent_of_one_another(processor: ProcessorSpec) -> None:
    _, timing = fetched(processor, "ROW", SPLITS["ROW"])
    rows = np.reshape(timing.finish, (8, 8))
    assert (rows == rows[:, :1]).all()
    assert len(set(rows[:, 0])) == 8


@pytest.mark.parametrize("mode", ["BCAST", "BROW"])
def test_a_put_in_a_mode_for_gets_is_an_error_with_names_and_sizes(mode: DmaMode, processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor, kernel="transpose")
    tile = group.alloc("t", size=(4, 16), dtype=FP64, split=SPLITS[mode])
    group.compute("fill", cycles=0, writes=[tile])
    message = rf"kernel 'transpose', CPE \(0, 0\) puts LDM buffer 't' \(4, 16\) \(512 B\) to array 'x'.*mode {mode}"
    with pytest.raises(ModeNotAllowed, match=message):
        group.put(tile, matrix(), (0, 0), mode=mode)
    assert tile.state == "ready"


@pytest.mark.parametrize("mode", ["ROW", "RANK"])
def test_a_put_shared_out_reaches_memory(mode: DmaMode, processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    array = matrix()
    tile = group.alloc("t", size=(4, 16), dtype=FP64, split=SPLITS[mode])
    group.compute("fill", cycles=0, writes=[tile], run=lambda: tile.values().fill(-1.0))
    group.wait(group.put(tile, array, (0, 0), mode=mode))
    assert array.data is not None
    assert (array.data[:32, :128] == -1).all()
    assert (array.data[32:] >= 0).all()
    assert schedule(trace=group.finish(), processor=processor).put_bytes == 32 * 128 * 8


@pytest.mark.parametrize(
    ("mode", "split"), [("BCAST", Split(rows=0)), ("BROW", Split(rows=0, columns=1)), ("ROW", Split())]
)
def test_a_buffer_divided_otherwise_is_an_error(mode: DmaMode, split: Split, processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    tile = group.alloc("t", size=(4, 16), dtype=FP64, split=split)
    with pytest.raises(ModeNotAllowed, match=rf"mode {mode} does not divide LDM buffer 't'"):
        group.get(tile, matrix(), (0, 0), mode=mode)
