"""Lines counted from addresses, and the engine's rules proved tight."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.chip.core_group import CoreGroup
from sim.chip.dma import Box, DmaTicks, count
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
    array = space.place(name="x", shape=shape, dtype=dtype)
    return Box(array=array, size=size, starts=np.array(starts))


@settings(max_examples=200, deadline=None)
@given(box=boxes())
def test_blocks_and_lines_are_those_of_the_bytes_touched(box: Box) -> None:
    """Every block of consecutive bytes touches its 128 B lines anew."""
    processor = load_machine("sunway_taihulight").processor
    found = count(box=box, direction="get", dma=processor.dma, ticks=DmaTicks.of(processor))
    array, item = box.array, box.array.dtype.itemsize
    for number, start in enumerate(box.starts.tolist()):
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
        lines = sum((end - 1) // 128 - begin // 128 + 1 for begin, end in runs)
        assert found.bytes[number] == len(addresses) * item
        assert found.blocks[number] == len(runs)
        assert found.lines[number] == lines
        gaps = {after[0] - before[0] for before, after in pairwise(runs)}
        if len(runs) > 0 and len(gaps) <= 1:
            assert found.descriptors[number] == 1
        assert found.descriptors[number] <= max(len(runs), 0)
        total = found.quantum[number] * max(lines, 1) + found.first[number]
        ticks = DmaTicks.of(processor)
        expected = found.descriptors[number] * ticks.request + len(runs) * ticks.block + lines * ticks.line
        assert total == expected


@pytest.mark.timing
def test_one_request_on_an_idle_engine(processor: ProcessorSpec) -> None:
    server = DmaServer(channel_line=1)
    server.add(time=100, cpe=0, handle=7, lines=3, quantum=10, first=4)
    assert server.advance(100) is None, "nothing is decided before the request has come"
    assert server.advance(124) is None, "the third line is not decided at t - 1"
    assert server.advance(125) == Completion(cpe=0, handle=7, time=134)
    assert server.advance(FOREVER) is None


@pytest.mark.timing
def test_two_requests_take_turns_line_by_line() -> None:
    server = DmaServer(channel_line=1)
    server.add(time=0, cpe=0, handle=0, lines=3, quantum=10, first=0)
    server.add(time=0, cpe=1, handle=1, lines=2, quantum=100, first=5)
    # turns: 0 to 10, 1 to 115, 0 to 125, 1 to 225, 0 to 235
    assert server.advance(FOREVER) == Completion(cpe=1, handle=1, time=225)
    assert server.advance(FOREVER) == Completion(cpe=0, handle=0, time=235)


@pytest.mark.timing
def test_who_arrives_at_a_decision_goes_before_who_was_just_served() -> None:
    server = DmaServer(channel_line=1)
    server.add(time=0, cpe=0, handle=0, lines=2, quantum=10, first=0)
    assert server.advance(10) is None
    server.add(time=10, cpe=1, handle=1, lines=1, quantum=10, first=0)
    assert server.advance(FOREVER) == Completion(cpe=1, handle=1, time=20)
    assert server.advance(FOREVER) == Completion(cpe=0, handle=0, time=30)


@pytest.mark.timing
def test_a_channel_holds_back_its_own_cpe_only() -> None:
    server = DmaServer(channel_line=50)
    server.add(time=0, cpe=0, handle=0, lines=2, quantum=10, first=0)
    server.add(time=0, cpe=1, handle=1, lines=1, quantum=10, first=0)
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
