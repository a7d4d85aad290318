"""Fast-forward is exact: loops cut short give the time and every counter of the plain simulation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.chip.core_group import CoreGroup, Transfer
from sim.chip.counters import KernelTiming
from sim.chip.memory import MemoryArray
from sim.chip.program import Trace
from sim.chip.scheduler import Scheduler
from sim.chip.tile import Split, Tile
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing

FP64 = np.dtype(np.float64)
CPES = 64
FAR = 1 << 30
"""Rows of an array that no program comes to the end of."""


@dataclass(frozen=True)
class Operand:
    """A block of every CPE, read or written in each turn: rows × columns numbers, moving on by ``step`` numbers."""

    rows: int
    columns: int
    width: int
    step: int
    put: bool
    apart: bool


@dataclass(frozen=True)
class Loops:
    """Two nested loops: outer turns of inner turns, with and without prefetch, tied by ``tie``."""

    outer: int
    inner: int
    operands: tuple[Operand, ...]
    prefetch: bool
    tie: str
    cycles: tuple[int, ...]
    shift: int


def run(case: Loops, processor: ProcessorSpec, *, forward: bool, start: tuple[int, ...] | None = None) -> KernelTiming:
    scheduler = Scheduler(trace=Trace(), processor=processor, start=start)
    group = CoreGroup(
        processor=processor, numerics=False, trace=scheduler.trace, scheduler=scheduler if forward else None
    )
    program(case, group)
    group.finish()
    return scheduler.finish()


def program(case: Loops, group: CoreGroup) -> None:
    arrays = [
        MemoryArray(name=f"x{n}", shape=(FAR, each.width), dtype=FP64, address=8 * case.shift + (n << 50))
        for n, each in enumerate(case.operands)
    ]
    tiles: list[tuple[Tile, Tile]] = []
    for n, each in enumerate(case.operands):
        split = None if each.apart else Split(rows=0, columns=1)
        size = (each.rows, each.columns)
        tiles.append(
            tuple(group.alloc(f"t{n}.{i}", size=size, dtype=FP64, split=split) for i in range(2))  # type: ignore[arg-type]
        )
    outer_rows = [max(each.rows, 1) * 8 * (case.inner + 3) for each in case.operands]

    def begin(n: int, turn: int, tile: Tile, base: int) -> Transfer:
        each, array = case.operands[n], arrays[n]
        row, column = divmod(turn * each.step, each.width - 8 * each.columns + 1)
        row += base * outer_rows[n]
        if each.apart:
            places = np.stack([row + np.arange(CPES) * each.rows, np.zeros(CPES, dtype=np.int64)], axis=1)
            return group.put(tile, array, places) if each.put else group.get(tile, array, places)
        return group.put(tile, array, (row, column)) if each.put else group.get(tile, array, (row, column))

    gets = [n for n, each in enumerate(case.operands) if not each.put]
    puts = [n for n, each in enumerate(case.operands) if each.put]
    # only whole rows further on, so that addresses advance evenly
    spare: list[Transfer] = []
    for turn_outer in group.loop("outer", case.outer, steady=range(case.outer)):
        mine, other = 0, 1
        under_way = [begin(n, 0, tiles[n][mine], turn_outer) for n in gets]
        last = case.inner - 1
        for turn in group.loop("inner", case.inner, steady=range(1, last)):
            ahead = case.prefetch and turn < last
            following = [begin(n, turn + 1, tiles[n][other], turn_outer) for n in gets] if ahead else []
            group.wait(*under_way)
            group.wait(*spare)
            group.compute("compute", cycles=case.cycles, writes=[tiles[n][mine] for n in puts])
            if case.tie == "sync":
                group.sync("sync")
            elif case.tie == "row":
                group.row_broadcast("row")
            elif case.tie == "both":
                group.row_broadcast("row")
                group.column_broadcast("column")
            spare = [begin(n, turn, tiles[n][mine], turn_outer) for n in puts]
            if turn < last and not ahead:
                following = [begin(n, turn + 1, tiles[n][other], turn_outer) for n in gets]
            under_way = following
            mine, other = other, mine
        group.wait(*spare)
        spare = []


@st.composite
def operands(draw: st.DrawFn) -> Operand:
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    width = 8 * columns + draw(st.integers(0, 9))
    # whole rows on: the next turn's block lies a constant number of bytes further
    step = draw(st.integers(0, 3)) * (width - 8 * columns + 1)
    return Operand(rows, columns, width, step, put=draw(st.booleans()), apart=draw(st.booleans()))


@st.composite
def loops(draw: st.DrawFn) -> Loops:
    cycles = draw(
        st.one_of(
            st.integers(0, 3000).map(lambda one: (one,) * CPES),
            st.lists(st.integers(0, 2000), min_size=CPES, max_size=CPES).map(tuple),
        )
    )
    return Loops(
        outer=draw(st.integers(1, 9)),
        inner=draw(st.integers(1, 24)),
        operands=tuple(draw(st.lists(operands(), min_size=1, max_size=3))),
        prefetch=draw(st.booleans()),
        tie=draw(st.sampled_from(["sync", "row", "both", "none"])),
        cycles=cycles,
        shift=draw(st.integers(0, 15)),
    )


def chip() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def simulated(timing: KernelTiming) -> int:
    return sum(loop.simulated for loop in timing.loops)


def check(case: Loops, processor: ProcessorSpec, skew: int = 0) -> None:
    """Both ways, CPE n beginning ``n · skew`` ticks late."""
    start = tuple(skew * cpe for cpe in range(CPES))
    found, plain = (run(case, processor, forward=forward, start=start) for forward in (True, False))
    assert found == plain


skews = st.integers(0, 100_000)


@settings(max_examples=2, deadline=None)
@given(case=loops(), skew=skews)
def test_loops_cut_short_equal_loops_in_full(case: Loops, skew: int) -> None:
    check(case, chip(), skew)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(case=loops(), skew=skews)
def test_many_more_loops_cut_short_equal_loops_in_full(case: Loops, skew: int) -> None:
    check(case, chip(), skew)


def machine(line: int, channel: int, pending: int, startup: int, buses: tuple[int, int]) -> ProcessorSpec:
    """The chip with another DMA engine: nanoseconds a line, GB/s of channels and buses, cycles to start."""
    processor = chip()
    dma = replace(
        processor.dma,
        line_seconds=line * 1e-9,
        channel_bytes_per_second=channel * 1e9,
        pending_per_cpe=pending,
        startup_cycles=startup,
        quarter_bytes_per_second=buses[0] * 1e9,
        half_bytes_per_second=buses[1] * 1e9,
    )
    return replace(processor, dma=dma)


machines = st.builds(
    machine,
    line=st.integers(1, 40),
    channel=st.integers(1, 60),
    pending=st.integers(1, 4),
    startup=st.integers(0, 600),
    buses=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)


@settings(max_examples=2, deadline=None)
@given(case=loops(), processor=machines)
def test_on_other_machines(case: Loops, processor: ProcessorSpec) -> None:
    check(case, processor)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(case=loops(), processor=machines)
def test_on_many_more_machines(case: Loops, processor: ProcessorSpec) -> None:
    check(case, processor)


TIED = Loops(
    outer=1,
    inner=400,
    operands=(Operand(2, 4, 40, 9, put=False, apart=False), Operand(1, 4, 40, 9, put=True, apart=False)),
    prefetch=True,
    tie="both",
    cycles=(700,) * CPES,
    shift=2,
)


def test_a_tied_loop_costs_no_more_simulation_for_more_turns() -> None:
    few, many = (run(replace(TIED, inner=turns), chip(), forward=True) for turns in (400, 40_000))
    loop = next(each for each in many.loops if each.name == "inner")
    assert loop.iterations == 40_000
    assert loop.period is not None
    assert abs(simulated(many) - simulated(few)) <= loop.period
    assert many.dma_lines > 90 * few.dma_lines
    assert "the others repeat every" in loop.words


@pytest.mark.slow
def test_outer_loops_are_cut_short_too() -> None:
    case = replace(TIED, inner=16, outer=24)
    found, plain = (run(case, chip(), forward=forward) for forward in (True, False))
    assert found == plain
    outer = next(each for each in found.loops if each.name == "outer")
    assert outer.simulated < outer.iterations / 4


def test_a_loop_that_never_repeats_runs_plainly_and_says_so() -> None:
    drifting = replace(TIED, tie="none", inner=60, cycles=tuple(range(100, 100 + 997 * CPES, 997)))
    found, plain = (run(drifting, chip(), forward=forward) for forward in (True, False))
    assert found == plain
    loop = next(each for each in found.loops if each.name == "inner")
    assert (loop.simulated, loop.period) == (60, None)
    assert loop.words == "loop inner: 60 iterations, all simulated, none repeats an earlier one"
