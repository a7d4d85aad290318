"""Lines counted from addresses, and the engine's rules proved tight."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.chip.core_group import CoreGroup
from sim.chip.dma import Box, Direction, DmaTicks, count
from sim.chip.dma_server import Completion, DmaServer
from sim.chip.memory import AddressSpace
from sim.chip.scheduler import schedule
from sim.chip.tile import Split
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_seconds

FP64 = np.dtype(np.float64)
FOREVER = 1 << 60


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    axes = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=axes, max_size=axes)))
    size = tuple(draw(st.integers(1, length + 2)) for length in shape)
    starts = [[draw(st.integers(-2, length)) for length in shape] for _ in range(3)]
    dtype = draw(st.sampled_from([np.dtype(np.float64), np.dtype(np.float32)]))
    space = AddressSpace(alignment=4, next_address=4 * draw(st.integers(0, 64)))
    if draw(st.booleans()):  # a part of an array with one axis more: rows with gaps between
        axis, length = draw(st.integers(0, axes - 1)), draw(st.integers(1, 3))
        whole = space.place(name="x", shape=(*shape[:axis], length, *shape[axis:]), dtype=dtype)
        array = whole.select(axis, draw(st.integers(0, length - 1)))
    else:
        array = space.place(name="x", shape=shape, dtype=dtype)
    assert array.shape == shape
    return Box(array=array, size=size, starts=np.array(starts))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(box=boxes(), together=st.booleans())
def test_blocks_and_lines_are_those_of_the_bytes_touched(box: Box, together: bool) -> None:
    """Every block of consecutive bytes touches its 128 B lines anew; next to another CPE's it costs only those."""
    processor = load_machine("sunway_taihulight").processor
    ticks = DmaTicks.of(processor)
    found = count(box=box, direction="get", dma=processor.dma, ticks=ticks, together=together)
    array, item = box.array, box.array.dtype.itemsize
    all_runs: list[list[list[int]]] = []
    for start in box.starts.tolist():
        ranges = [
            range(max(at, 0), min(at + size, length))
            for at, size, length in zip(start, box.size, array.shape, strict=True)
        ]
        addresses = [
            array.address + sum(index * stride for index, stride in zip(place, array.strides, strict=True))
            for place in product(*ranges)
        ]
        runs: list[list[int]] = []
        for address in addresses:
            if runs and runs[-1][1] == address:
                runs[-1][1] = address + item
            else:
                runs.append([address, address + item])
        all_runs.append(runs)
    begins, ends = ({runs[0][side] for runs in all_runs if runs} for side in (0, 1))
    for number, runs in enumerate(all_runs):
        lines = sum((end - 1) // 128 - begin // 128 + 1 for begin, end in runs)
        assert found.bytes[number] == sum(end - begin for begin, end in runs)
        assert found.blocks[number] == len(runs)
        assert found.lines[number] == lines
        gaps = {after[0] - before[0] for before, after in pairwise(runs)}
        if len(runs) > 0 and len(gaps) <= 1:
            assert found.descriptors[number] == 1
        assert found.descriptors[number] <= max(len(runs), 0)
        total = found.quantum[number] * max(lines, 1) + found.first[number]
        beside = bool(runs) and together and (runs[0][0] in ends or runs[0][1] in begins)
        paying = 0 if beside else len(runs)
        assert total == found.descriptors[number] * ticks.request + paying * ticks.block + lines * ticks.line


@pytest.mark.timing
def test_one_request_on_an_idle_engine(processor: ProcessorSpec) -> None:
    server = DmaServer()
    server.add(time=100, cpe=0, handle=7, lines=3, quantum=10, first=4, channel=3)
    assert server.advance(100) is None, "nothing is decided before the request has come"
    assert server.advance(124) is None, "the third line is not decided at t - 1"
    assert server.advance(125) == Completion(cpe=0, handle=7, time=134)
    assert server.advance(FOREVER) is None


@pytest.mark.timing
def test_two_requests_take_turns_line_by_line() -> None:
    server = DmaServer()
    server.add(time=0, cpe=0, handle=0, lines=3, quantum=10, first=0, channel=3)
    server.add(time=0, cpe=1, handle=1, lines=2, quantum=100, first=5, channel=2)
    # turns: 0 to 10, 1 to 115, 0 to 125, 1 to 225, 0 to 235
    assert server.advance(FOREVER) == Completion(cpe=1, handle=1, time=225)
    assert server.advance(FOREVER) == Completion(cpe=0, handle=0, time=235)


@pytest.mark.timing
def test_who_arrives_at_a_decision_goes_before_who_was_just_served() -> None:
    server = DmaServer()
    server.add(time=0, cpe=0, handle=0, lines=2, quantum=10, first=0, channel=2)
    assert server.advance(10) is None
    server.add(time=10, cpe=1, handle=1, lines=1, quantum=10, first=0, channel=1)
    assert server.advance(FOREVER) == Completion(cpe=1, handle=1, time=20)
    assert server.advance(FOREVER) == Completion(cpe=0, handle=0, time=30)


@pytest.mark.timing
def test_a_channel_holds_back_its_own_cpe_only() -> None:
    server = DmaServer()
    server.add(time=0, cpe=0, handle=0, lines=2, quantum=10, first=0, channel=100)
    server.add(time=0, cpe=1, handle=1, lines=1, quantum=10, first=0, channel=50)
    assert server.advance(FOREVER) == Completion(cpe=1, handle=1, time=50)
    assert server.advance(FOREVER) == Completion(cpe=0, handle=0, time=100)


def bandwidth(processor: ProcessorSpec, *, cpes: int, doubles: int) -> float:
    """GB/s of a get of ``doubles`` by each of the first ``cpes`` CPEs."""
    group = CoreGroup(processor=processor, numerics=False)
    array = AddressSpace().place(name="x", shape=(cpes * doubles,), dtype=FP64)
    tile = group.alloc("x", size=(doubles,), dtype=FP64, split=Split(rows=0, columns=0))
    group.wait(group.get(tile, array, (0,)))
    timing = schedule(trace=group.finish(), processor=processor)
    return timing.get_bytes / (timing.ticks / processor.clock_hertz / 1000) / 1e9


@pytest.mark.timing
def test_bandwidths_of_one_and_of_all_cpes(processor: ProcessorSpec) -> None:
    one, one_large = (bandwidth(processor, cpes=1, doubles=n) for n in (128, 6144))
    assert one < 5 < 10.2 < one_large < 10.7, "one CPE: start-up, then its channel of 10.7 GB/s"
    everyone = bandwidth(processor, cpes=64, doubles=6144)
    line = ticks_from_seconds(processor.dma.line_seconds, clock_hertz=processor.clock_hertz)
    ceiling = 128 / (line / processor.clock_hertz / 1000) / 1e9
    assert 0.97 * ceiling < everyone < ceiling


@pytest.mark.timing
def test_a_get_takes_issue_startup_and_service_exactly(processor: ProcessorSpec) -> None:
    group = CoreGroup(processor=processor, numerics=False)
    array = AddressSpace().place(name="x", shape=(16,), dtype=FP64)
    tile = group.alloc("x", size=(16,), dtype=FP64, split=Split(rows=0, columns=0))
    group.wait(group.get(tile, array, (0,)))
    ticks = DmaTicks.of(processor)
    timing = schedule(trace=group.finish(), processor=processor)
    service = max(ticks.request + ticks.block + ticks.line, ticks.channel_line)
    assert timing.finish[0] == ticks.issue + service + ticks.startup
    assert set(timing.finish[1:]) == {0}, "the other CPEs have nothing to transfer"


@pytest.mark.timing
def test_few_buses_in_use_slow_every_line_down() -> None:
    def server() -> DmaServer:
        return DmaServer(bus_of=[0, 0, 1, 1], bus_lines=(0, 30, 0))

    alone = server()
    alone.add(time=0, cpe=0, handle=0, lines=2, quantum=10, first=5, channel=0)
    assert alone.advance(FOREVER) == Completion(cpe=0, handle=0, time=65), "two lines of 30, the first 5 longer"
    same = server()
    for cpe in (0, 1):
        same.add(time=0, cpe=cpe, handle=cpe, lines=1, quantum=10, first=0, channel=0)
    assert same.advance(FOREVER) == Completion(cpe=0, handle=0, time=30)
    assert same.advance(FOREVER) == Completion(cpe=1, handle=1, time=60)
    both = server()
    both.add(time=0, cpe=0, handle=0, lines=1, quantum=10, first=0, channel=0)
    both.add(time=0, cpe=2, handle=2, lines=2, quantum=10, first=0, channel=0)
    assert both.advance(FOREVER) == Completion(cpe=0, handle=0, time=10)
    assert both.advance(FOREVER) == Completion(cpe=2, handle=2, time=70), "both its lines are alone"


@pytest.mark.timing
def test_whole_rounds_on_few_buses_are_those_taken_one_by_one() -> None:
    def ends(limits: list[int]) -> list[int]:
        server = DmaServer(bus_of=[0, 0, 1, 1], bus_lines=(0, 30, 12))
        for cpe, quantum in enumerate((10, 40, 11)):
            server.add(time=0, cpe=cpe, handle=cpe, lines=200 + cpe, quantum=quantum, first=3, channel=0)
        found = []
        for limit in [*limits, FOREVER]:
            while (completion := server.advance(limit)) is not None:
                found.append(completion.time)
        return found

    assert ends([]) == ends(list(range(1, 20_000, 7)))


@pytest.mark.timing
def test_ceilings_by_columns_in_use(processor: ProcessorSpec) -> None:
    quarter, half = (ticks_from_seconds(128 / rate, clock_hertz=1.45e9) for rate in (14.1e9, 16.2e9))
    assert DmaTicks.of(processor).bus_lines == (quarter, quarter, half, 0, 0)
    narrow = replace(processor, mesh=replace(processor.mesh, columns=2))
    assert DmaTicks.of(narrow).bus_lines == (quarter, 0), "one bus is all there are"


@pytest.mark.timing
@pytest.mark.parametrize(
    ("direction", "doubles", "expected"),
    [
        ("get", 1, 3 * 9_000),  # the least time of a block
        ("get", 17, 3 * 2 * 5_000),  # two lines each
        ("put", 1, 3 * 9_000 + 3 * 1_000 + 4_000),  # the least time again, and a small block's and the request's extra
        ("put", 17, 3 * (5 * 2_000 + 500) + 4_000),  # five granules of 32 B
    ],
)
def test_service_of_blocks(processor: ProcessorSpec, direction: Direction, doubles: int, expected: int) -> None:
    dma = replace(
        processor.dma,
        line_seconds=5e-9,
        request_seconds=0.0,
        block_seconds=0.0,
        block_minimum_seconds=9e-9,
        partial_put_block_seconds=1e-9,
        put_granule_bytes=32,
        put_line_extra_seconds=3e-9,
        put_request_extra_seconds=4e-9,
        put_block_extra_seconds=0.5e-9,
    )
    chip = replace(processor, clock_hertz=1e9, dma=dma)
    array = AddressSpace().place(name="x", shape=(3, 32), dtype=FP64)
    box = Box(array=array, size=(3, doubles), starts=np.array([[0, 0]]))
    found = count(box=box, direction=direction, dma=dma, ticks=DmaTicks.of(chip))
    assert found.quantum[0] * found.lines[0] + found.first[0] == expected
    assert found.channel[0] == 3 * doubles * 8 * DmaTicks.of(chip).channel_line // 128


@pytest.mark.timing
def test_whole_rounds_leave_the_decision_at_which_someone_arrives() -> None:
    server = DmaServer()
    server.add(time=0, cpe=0, handle=0, lines=5, quantum=10, first=0, channel=0)
    assert server.advance(20) is None, "two lines, the second one taken with whole rounds"
    server.add(time=20, cpe=1, handle=1, lines=1, quantum=10, first=0, channel=0)
    assert server.advance(FOREVER) == Completion(cpe=1, handle=1, time=30), "it goes before who was just served"
