"""The programming interface: what is refused, what is counted, what is recorded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sim.chip.core_group import CoreGroup
from sim.chip.cpe_program import Cpe, Program, run_programs
from sim.chip.errors import BufferHazard, Deadlock, LdmOverflow, UnfinishedTransfer
from sim.chip.memory import AddressSpace, MemoryArray
from sim.chip.scheduler import schedule
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

FP64 = np.dtype(np.float64)
SPLIT = Split(rows=0, columns=0)


def memory(elements: int = 6400) -> MemoryArray:
    return AddressSpace().place_data(name="x", data=np.arange(elements, dtype=np.float64))


def tile(group: CoreGroup, name: str = "t", elements: int = 100) -> Tile:
    return group.alloc(name, size=(elements,), dtype=FP64, split=SPLIT)


def test_ldm_overflow_lists_the_live_buffers(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    tile(group, "first", 4000)
    tile(group, "second", 4000)
    with pytest.raises(LdmOverflow, match=r"'third' of 8000 B .* 64000 of 65536 B .*first 32000 B, second 32000 B"):
        tile(group, "third", 1000)


def test_freed_ldm_can_be_used_again(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    group.free(tile(group, "first", 8000))
    tile(group, "second", 8000)
    assert group.trace.ldm_high_water == 64000


def test_reading_before_the_data_arrived_is_an_error(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    target = tile(group)
    get = group.get(target, memory(), (0,))
    with pytest.raises(BufferHazard, match=r"'add' reads LDM buffer 't'|add reads LDM buffer 't', which is still"):
        group.compute("add", cycles=1, reads=[target])
    assert np.isnan(target.values()).all(), "until the wait the buffer holds nothing"
    group.wait(get)
    group.compute("add", cycles=1, reads=[target])
    np.testing.assert_array_equal(target.values(), np.arange(6400.0))


def test_writing_during_a_put_is_an_error(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    source, array = tile(group), memory()
    group.compute("fill", cycles=1, writes=[source], run=lambda: source.values().fill(7))
    put = group.put(source, array, (0,))
    with pytest.raises(BufferHazard, match="while a put uses it"):
        group.compute("fill", cycles=1, writes=[source])
    with pytest.raises(BufferHazard, match="is being put"):
        group.compute("read", cycles=1, reads=[source])
    assert array.data is not None
    assert array.data[1] == 1, "the data reach memory at the wait"
    group.wait(put)
    assert (array.data == 7).all()
    with pytest.raises(BufferHazard, match="put has taken the data away"):
        group.compute("read", cycles=1, reads=[source])


def test_a_missing_wait_is_an_error(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    group.get(tile(group), memory(), (0,))
    with pytest.raises(UnfinishedTransfer, match=r"get x \(t\)"):
        group.finish()


def test_a_box_beyond_the_array_brings_zeros_and_writes_nothing(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    array = memory(100)
    target = tile(group, elements=2)
    group.wait(group.get(target, array, (-10,)))
    np.testing.assert_array_equal(target.values(), np.r_[np.zeros(10), np.arange(100.0), np.zeros(18)])
    group.wait(group.put(target, array, (90,)))
    assert array.data is not None
    np.testing.assert_array_equal(array.data[90:], np.zeros(10))


def streamed(processor: ProcessorSpec, *, numerics: bool) -> CoreGroup:
    group = CoreGroup(processor=processor, numerics=numerics)
    source, target = tile(group, "in"), tile(group, "out")
    array = memory() if numerics else AddressSpace().place(name="x", shape=(6400,), dtype=FP64)
    for _ in group.loop("turns", 3):
        group.wait(group.get(source, array, (0,)))
        group.row_broadcast("row")
        group.compute("double", cycles=[float(cpe) for cpe in range(64)], reads=[source], writes=[target], flops=6400)
        group.wait(group.put(target, array, (0,)))
        group.sync("end of turn")
    return group


def test_the_trace_does_not_depend_on_numerics(processor: ProcessorSpec) -> None:
    computed = schedule(trace=streamed(processor, numerics=True).finish(), processor=processor)
    timed = schedule(trace=streamed(processor, numerics=False).finish(), processor=processor)
    assert computed == timed
    assert timed.flops == 3 * 6400
    assert timed.get_bytes == timed.put_bytes == 3 * 6400 * 8


def test_reasons_and_intervals_tile_every_life(processor: ProcessorSpec) -> None:
    trace = streamed(processor, numerics=False).finish()
    assert [(loop.name, loop.iterations, loop.simulated) for loop in trace.loops.values()] == [("turns", 3, 3)]
    timing = schedule(trace=trace, processor=processor, start=[1000 * cpe for cpe in range(64)], record=True)
    for cpe in range(64):
        assert sum(ticks[cpe] for ticks in timing.reasons.values()) == timing.ticks
        own = sorted((each for each in timing.intervals if each.cpe == cpe), key=lambda each: each.start)
        assert own[0].start == 0
        assert own[-1].end == timing.ticks
        assert all(before.end == after.start for before, after in pairwise(own))
        for reason, ticks in timing.reasons.items():
            assert sum(each.end - each.start for each in own if each.reason == reason) == ticks[cpe]


def test_unequal_work_before_a_broadcast_makes_the_row_wait(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor, numerics=False)
    group.compute("work", cycles=[100.0 if cpe == 3 else 0.0 for cpe in range(64)])
    group.row_broadcast("row")
    timing = schedule(trace=group.finish(), processor=processor)
    assert set(timing.finish[:8]) == {111_000}
    assert set(timing.finish[8:]) == {11_000}


def test_a_broadcast_that_one_cpe_never_joins_is_a_named_deadlock(processor: ProcessorSpec) -> None:
    def program(cpe: Cpe) -> Program:
        if cpe.id != 9:
            yield from cpe.row_broadcast(0, 1.0)

    with pytest.raises(Deadlock, match=r"7 CPEs wait for ever: CPE \(1, 0\) in row broadcast from column 0"):
        run_programs(program, processor=processor)


def test_per_cpe_programs_name_their_hazards(processor: ProcessorSpec) -> None:
    array = memory()

    def reads_early(cpe: Cpe) -> Program:
        buffer = cpe.alloc("x", size=(10,), dtype=FP64)
        yield from cpe.get(buffer, array, (cpe.id * 10,))
        yield from cpe.put(buffer, array, (0,))

    def forgets(cpe: Cpe) -> Program:
        buffer = cpe.alloc("x", size=(10,), dtype=FP64)
        yield from cpe.get(buffer, array, (cpe.id * 10,))

    with pytest.raises(BufferHazard, match=r"put to 'x' by CPE \d+ reads LDM buffer 'x', which is still being filled"):
        run_programs(reads_early, processor=processor)
    with pytest.raises(UnfinishedTransfer, match="CPE 0 ends without waiting for get of 'x'"):
        run_programs(forgets, processor=processor)


def test_scratch_reads_as_nan(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor)
    target, array = tile(group), memory()
    assert np.isnan(target.values()).all(), "fresh"
    target.values().fill(1)
    get = group.get(target, array, (0,))
    assert np.isnan(target.values()).all(), "before the data arrive"
    group.wait(get)
    np.testing.assert_array_equal(target.values(), np.arange(6400.0))
    put = group.put(target, array, (0,))
    assert np.isnan(target.values()).all(), "behind a put"
    target.values().fill(2)
    group.wait(put)
    np.testing.assert_array_equal(array.data, np.arange(6400.0))


def test_only_a_timed_run_asks_for_cycles(processor: ProcessorSpec) -> None:
    asked = []

    def cycles() -> float:
        asked.append(1)
        return 2.0

    for timing in (False, True):
        CoreGroup(processor=processor, timing=timing).compute("work", cycles=cycles)
    assert asked == [1]
