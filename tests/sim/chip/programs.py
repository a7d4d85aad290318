"""The same programs twice: against the core group's interface and as 64 generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.chip.core_group import CoreGroup, Transfer
from sim.chip.counters import KernelTiming
from sim.chip.cpe_program import Cpe, CpeTransfer, Program, Starts, run_programs
from sim.chip.memory import AddressSpace, Array, MemoryArray
from sim.chip.pipeline.gemm import gemm_step_cycles
from sim.chip.scheduler import schedule
from sim.chip.tile import Split
from sim.machine.spec import ProcessorSpec

ROWS, COLUMNS, CPES = 8, 8, 64
FP64 = np.dtype(np.float64)


@dataclass(frozen=True)
class GemmCase:
    """c = a·b with per-CPE parts (m × k)·(k × n); arrays of any size, ``shift`` bytes off a line."""

    rows: int
    columns: int
    depth: int
    m: int
    n: int
    k: int
    double: bool
    shift: int

    def arrays(self, seed: int) -> tuple[MemoryArray, MemoryArray, MemoryArray]:
        rng = np.random.default_rng(seed)
        space = AddressSpace(alignment=8, next_address=8 * self.shift)
        a = space.place_data(name="a", data=rng.standard_normal((self.rows, self.depth)))
        b = space.place_data(name="b", data=rng.standard_normal((self.depth, self.columns)))
        c = space.place_data(name="c", data=np.full((self.rows, self.columns), np.nan))
        return a, b, c

    @property
    def steps(self) -> int:
        return -(-self.depth // (self.k * COLUMNS))


def gemm_on_group(
    case: GemmCase, processor: ProcessorSpec, start: Sequence[int], *, seed: int = 0
) -> tuple[KernelTiming, Array]:
    """One C tile, tiles of k one after the other."""
    a, b, c = case.arrays(seed)
    group = CoreGroup(processor=processor)
    split = Split(rows=0, columns=1)
    buffers = 2 if case.double else 1
    tiles_a = [group.alloc(f"a{i}", size=(case.m, case.k), dtype=FP64, split=split) for i in range(buffers)]
    tiles_b = [group.alloc(f"b{i}", size=(case.k, case.n), dtype=FP64, split=split) for i in range(buffers)]
    tile_c = group.alloc("c", size=(case.m, case.n), dtype=FP64, split=split)

    def fetch(step: int) -> tuple[Transfer, Transfer]:
        at = step * case.k * COLUMNS
        place = step % buffers
        return group.get(tiles_a[place], a, (0, at)), group.get(tiles_b[place], b, (at, 0))

    under_way = fetch(0)
    for step in range(case.steps):
        if case.double and step + 1 < case.steps:
            following = fetch(step + 1)
        group.wait(*under_way)
        place = step % buffers
        group.mesh_gemm("gemm", c=tile_c, a=tiles_a[place], b=tiles_b[place], accumulate=step > 0)
        if step + 1 < case.steps:
            under_way = following if case.double else fetch(step + 1)
    group.wait(group.put(tile_c, c, (0, 0)))
    assert c.data is not None
    return schedule(trace=group.finish(), processor=processor, start=start), c.data


def on_mesh(rows: int, columns: int, first: tuple[int, int]) -> Starts:
    """Where each CPE's part of rows × columns begins of a tile that begins at ``first``."""
    return lambda cpe: (first[0] + cpe // COLUMNS * rows, first[1] + cpe % COLUMNS * columns)


def in_turn(height: int, turn: int) -> Starts:
    """Where each CPE's rows begin in a turn."""
    return lambda cpe: ((turn * CPES + cpe) * height, 0)


def gemm_by_cpe(
    case: GemmCase, processor: ProcessorSpec, start: Sequence[int], *, seed: int = 0
) -> tuple[KernelTiming, Array]:
    """The same, each CPE for itself: eight steps of row and column broadcast."""
    a, b, c = case.arrays(seed)
    buffers = 2 if case.double else 1
    cycles = gemm_step_cycles(processor=processor, dtype="fp64", m=case.m, n=case.n, k=case.k)

    def program(cpe: Cpe) -> Program:
        own_a = [cpe.alloc(f"a{i}", size=(case.m, case.k), dtype=FP64) for i in range(buffers)]
        own_b = [cpe.alloc(f"b{i}", size=(case.k, case.n), dtype=FP64) for i in range(buffers)]
        own_c = cpe.alloc("c", size=(case.m, case.n), dtype=FP64)
        total = np.zeros((case.m, case.n))

        def fetch(step: int) -> Program:
            at = step * case.k * COLUMNS
            place = step % buffers
            first = yield from cpe.get(own_a[place], a, on_mesh(case.m, case.k, (0, at)))
            second = yield from cpe.get(own_b[place], b, on_mesh(case.k, case.n, (at, 0)))
            return first, second

        under_way = yield from fetch(0)
        for step in range(case.steps):
            if case.double and step + 1 < case.steps:
                following = yield from fetch(step + 1)
            for transfer in under_way:
                yield from cpe.wait(transfer)
            place = step % buffers
            for turn in range(COLUMNS):
                left = yield from cpe.row_broadcast(turn, own_a[place].values())
                right = yield from cpe.column_broadcast(turn, own_b[place].values())
                total += left @ right
                yield from cpe.compute(cycles)
            if step + 1 < case.steps:
                under_way = following if case.double else (yield from fetch(step + 1))
        own_c.values()[...] = total
        own_c.state = "ready"
        yield from cpe.wait((yield from cpe.put(own_c, c, on_mesh(case.m, case.n, (0, 0)))))

    timing = run_programs(program, processor=processor, start=start)
    assert c.data is not None
    return timing, c.data


@dataclass(frozen=True)
class StreamCase:
    """y = 2·x over rows of ``width`` numbers, ``height`` rows per CPE and turn, each CPE at its own speed."""

    rows: int
    width: int
    height: int
    strided: bool
    buffers: int
    synced: bool
    cycles: tuple[int, ...]
    shift: int

    def arrays(self, seed: int) -> tuple[MemoryArray, MemoryArray]:
        rng = np.random.default_rng(seed)
        space = AddressSpace(alignment=8, next_address=8 * self.shift)
        whole = self.width * (2 if self.strided else 1)
        x = space.place_data(name="x", data=rng.standard_normal((self.rows, whole)))
        y = space.place_data(name="y", data=np.zeros((self.rows, whole)))
        return x, y

    @property
    def turns(self) -> int:
        return -(-self.rows // (self.height * CPES))


def stream_on_group(
    case: StreamCase, processor: ProcessorSpec, start: Sequence[int], *, seed: int = 0
) -> tuple[KernelTiming, Array]:
    """``buffers`` turns are fetched ahead before the first is used, so that requests queue up."""
    x, y = case.arrays(seed)
    group = CoreGroup(processor=processor)
    split = Split(rows=0, columns=0)
    size = (case.height, case.width)
    ins = [group.alloc(f"x{i}", size=size, dtype=FP64, split=split) for i in range(case.buffers)]
    outs = [group.alloc(f"y{i}", size=size, dtype=FP64, split=split) for i in range(case.buffers)]
    for first in range(0, case.turns, case.buffers):
        turns = range(first, min(first + case.buffers, case.turns))
        starts = [(turn * case.height * CPES, 0) for turn in turns]
        gets = [group.get(tile, x, at) for tile, at in zip(ins, starts, strict=False)]
        puts = []
        for get, tile, out, at in zip(gets, ins, outs, starts, strict=False):
            group.wait(get)

            def double(tile=tile, out=out) -> None:  # type: ignore[no-untyped-def]
                np.multiply(tile.values(), 2, out=out.values())

            group.compute("double", cycles=case.cycles, reads=[tile], writes=[out], run=double)
            puts.append(group.put(out, y, at))
        group.wait(*puts)
        if case.synced:
            group.sync("sync")
    assert y.data is not None
    return schedule(trace=group.finish(), processor=processor, start=start), y.data


def stream_by_cpe(
    case: StreamCase, processor: ProcessorSpec, start: Sequence[int], *, seed: int = 0
) -> tuple[KernelTiming, Array]:
    """The same, each CPE for itself."""
    x, y = case.arrays(seed)
    size = (case.height, case.width)

    def program(cpe: Cpe) -> Program:
        ins = [cpe.alloc(f"x{i}", size=size, dtype=FP64) for i in range(case.buffers)]
        outs = [cpe.alloc(f"y{i}", size=size, dtype=FP64) for i in range(case.buffers)]
        for first in range(0, case.turns, case.buffers):
            turns = range(first, min(first + case.buffers, case.turns))
            starts = [in_turn(case.height, turn) for turn in turns]
            gets: list[CpeTransfer] = []
            for tile, at in zip(ins, starts, strict=False):
                gets.append((yield from cpe.get(tile, x, at)))
            puts = []
            for get, tile, out, at in zip(gets, ins, outs, starts, strict=False):
                yield from cpe.wait(get)
                yield from cpe.compute(case.cycles[cpe.id])
                out.values()[...] = 2 * tile.values()
                out.state = "ready"
                puts.append((yield from cpe.put(out, y, at)))
            for put in puts:
                yield from cpe.wait(put)
            if case.synced:
                yield from cpe.sync()

    timing = run_programs(program, processor=processor, start=start)
    assert y.data is not None
    return timing, y.data
