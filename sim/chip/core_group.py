"""A core group as kernels program it: allocate, transfer, broadcast, compute; it computes and emits a trace.

Running a kernel program executes its numerics in program order (``numerics=True``) and emits the operations that
the scheduler times (``timing=True``); either can be left out, and neither looks at the other's results. Buffers are
checked in every mode: data of a get arrive at its wait, a put's data reach memory at its wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sim.chip import pipeline
from sim.chip.counters import LoopReport
from sim.chip.dma import Box, Direction, DmaTicks, Integers, Requests, count
from sim.chip.dma_modes import DmaMode, check_mode, collective
from sim.chip.errors import UnalignedAccess, UnfinishedTransfer
from sim.chip.forward import Forward
from sim.chip.global_access import GlobalAccess, global_requests
from sim.chip.ldm import Ldm
from sim.chip.memory import Array, MemoryArray, MemoryUse
from sim.chip.program import (
    ColumnBroadcast,
    Compute,
    DmaStart,
    DmaWait,
    MeshSteps,
    RowBroadcast,
    Sync,
    Ticks,
    Trace,
)
from sim.chip.scheduler import Scheduler
from sim.chip.tile import Split, Tile
from sim.chip.transfer import load_part, load_region, store_part, store_region
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_cycles

Start = Sequence[int] | Integers


@dataclass(eq=False)
class Transfer:
    """A transfer under way, to be waited for."""

    number: int
    direction: Direction
    tile: Tile
    array: MemoryArray
    start: tuple[int, ...] | Integers
    mode: DmaMode = "PE"
    outgoing: Array | None = None
    done: bool = False

    @property
    def label(self) -> str:
        by = "" if self.mode == "PE" else f" {self.mode}"
        return f"{self.direction}{by} {self.array.name} ({self.tile.name})"


@dataclass(eq=False)
class CoreGroup:
    """One core group of ``processor``; see the module's docstring for the modes.

    ``scheduler``: times ``trace`` while it is emitted, so that loops can be cut short; only without numerics, which
    need every iteration. ``kernel`` is named by errors.
    """

    processor: ProcessorSpec
    numerics: bool = True
    timing: bool = True
    memory: MemoryUse = field(default_factory=MemoryUse)
    scheduler: Scheduler | None = None
    kernel: str = ""
    ldm: Ldm = field(init=False)
    trace: Trace = field(default_factory=Trace)
    head: int = 0
    """Operations before the last head of a loop that is watched: nothing is added to them."""
    transfers: list[Transfer] = field(default_factory=list)
    counted: dict[tuple[object, ...], Requests] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, columns = self.mesh
        where = f"CPE (0, 0) to ({rows - 1}, {columns - 1})"
        self.ldm = Ldm(capacity=self.processor.cpe.ldm_bytes, owner=f"{self._by}{where}: ")
        self.trace.kernel = self.kernel

    @property
    def _by(self) -> str:
        """How errors begin."""
        return f"kernel {self.kernel!r}, " if self.kernel else ""

    @cached_property
    def ticks(self) -> DmaTicks:
        return DmaTicks.of(self.processor)

    @property
    def mesh(self) -> tuple[int, int]:
        """Rows and columns of the mesh."""
        return self.processor.mesh.rows, self.processor.mesh.columns

    @property
    def cpes(self) -> int:
        return self.processor.cpes_per_core_group

    def alloc(
        self, name: str, *, size: Sequence[int], dtype: np.dtype[np.floating], split: Split | None = None
    ) -> Tile:
        """A buffer of ``size`` elements in every CPE's LDM, NaN-filled in numeric runs.

        ``split`` says how the CPEs' parts make up one assembled array; None: unrelated parts.
        Raises LdmOverflow.
        """
        tile = Tile(name=name, size=tuple(size), dtype=dtype, split=split, mesh=self.mesh, numerics=self.numerics)
        self.ldm.allocate(name=name, size=tile.bytes_per_cpe)
        self.trace.ldm_high_water = self.ldm.high_water
        return tile

    def free(self, *tiles: Tile) -> None:
        """Give buffers back."""
        for tile in tiles:
            tile.check_writable(by="free")
            self.ldm.free(name=tile.name)

    def get(self, tile: Tile, array: MemoryArray, start: Start, *, mode: DmaMode = "PE") -> Transfer:
        """Start copying from memory into ``tile``; readable after :meth:`wait`.

        ``start``: for a split tile the index of the assembled box in ``array``; else per CPE, shape (CPEs, axes).
        What lies outside the array is filled with zeros. ``mode``: see :mod:`sim.chip.dma_modes`; its CPEs meet here
        and after the wait. Raises ModeNotAllowed.
        """
        tile.check_writable(by=f"get of {array.name!r}")
        transfer = self._begin("get", tile, array, start, mode)
        tile.state = "filling"
        tile.scratch()
        return transfer

    def put(self, tile: Tile, array: MemoryArray, start: Start, *, mode: DmaMode = "PE") -> Transfer:
        """Start copying ``tile`` to memory; in memory after :meth:`wait`. The buffer is spent.

        What lies outside the array is not written. Raises ModeNotAllowed.
        """
        check_mode(mode=mode, direction="put", tile=tile, array=array, kernel=self._by)
        tile.check_readable(by=f"put to {array.name!r}")
        transfer = self._begin("put", tile, array, start, mode)
        tile.state = "draining"
        if self.numerics:
            transfer.outgoing = tile.values()
        tile.scratch()
        return transfer

    def wait(self, *transfers: Transfer) -> None:
        """Wait until each transfer is complete: the data arrive here."""
        if self.scheduler is not None:
            self.scheduler.check_limit()
        for transfer in transfers:
            if transfer.done:
                raise ValueError(f"{transfer.label} was waited for twice")
            transfer.done = True
            if self.timing:
                self.trace.emit(DmaWait(transfer.number, transfer.label))
                self._meet(transfer.mode, f"end of {transfer.label}")
            if transfer.direction == "get":
                transfer.tile.state = "ready"
                if self.numerics:
                    self._arrive(transfer)
            else:
                transfer.tile.state = "fresh"
                if self.numerics:
                    self._store(transfer)

    def global_load(self, label: str, *accesses: GlobalAccess) -> None:
        """Load from memory without DMA, waiting for each step: one access of each of ``accesses``, issued together.

        Raises UnalignedAccess.
        """
        for access in accesses:
            access.tile.check_writable(by=label)
        self._access("get", label, accesses)
        for access in accesses:
            access.tile.state = "ready"
            if self.numerics:
                assert access.array.data is not None
                target = access.tile.data = np.empty(access.tile.shape, dtype=access.tile.dtype)
                load_part(target=target, source=access.array.data, starts=access.starts)

    def global_store(self, label: str, access: GlobalAccess) -> None:
        """Store to memory without DMA, one after the other. The values are spent. Raises UnalignedAccess."""
        access.tile.check_readable(by=label)
        self._access("put", label, (access,))
        access.tile.state = "fresh"
        if self.numerics:
            assert access.array.data is not None
            store_part(target=access.array.data, source=access.tile.values(), starts=access.starts)
        access.tile.scratch()

    def compute(
        self,
        label: str,
        *,
        cycles: float | Sequence[float] | Callable[[], float | Sequence[float]],
        reads: Sequence[Tile] = (),
        writes: Sequence[Tile] = (),
        vectors: Sequence[Tile] = (),
        flops: int = 0,
        run: Callable[[], None] | None = None,
    ) -> None:
        """Compute on the LDM for ``cycles``: per CPE, or one number for all, or a function that is asked for them.

        ``run`` does the numerics on the tiles' data; ``flops`` counts the useful operations of all CPEs. ``vectors``:
        the tiles whose rows vector instructions load or store. Raises UnalignedAccess.
        """
        self._touch(label, reads, writes)
        for tile in vectors:
            self._check_rows(label, tile)
        if self.timing:
            self.trace.emit(Compute(_ticks(cycles() if callable(cycles) else cycles), label), flops=flops)
        if self.numerics and run is not None:
            run()

    def mesh_gemm(
        self,
        label: str,
        *,
        c: Tile,
        a: Tile,
        b: Tile,
        transpose_a: bool = False,
        transpose_b: bool = False,
        flops: int = 0,
        accumulate: bool = True,
        schedule: str = pipeline.DEFAULT_SCHEDULE,
        k_step_residual: float = 0.0,
    ) -> None:
        """``c (+)= op(a)·op(b)`` over the mesh, in as many broadcast steps as the mesh has columns.

        At step t column t broadcasts its part of a along the rows and row t its part of b along the columns
        (SWDNN17 Fig. 3). ``transpose_a``: a is stored (k, m); ``transpose_b``: b is stored (n, k).
        ``schedule`` is the micro-kernel's, each k-step ``k_step_residual`` cycles longer than the scoreboard says.
        """
        self._touch(label, (a, b, c) if accumulate else (a, b), (c,))
        m, n = c.size
        k = a.size[0] if transpose_a else a.size[1]
        if self.timing:
            cycles = pipeline.gemm_step_cycles(
                processor=self.processor,
                dtype=dtype_name(c.dtype),
                m=m,
                n=n,
                k=k,
                schedule=schedule,
                k_step_residual=k_step_residual,
            )
            steps = self.mesh[1]
            self._emit_steps(MeshSteps(steps, steps * ticks_from_cycles(cycles), label), flops=flops)
        if self.numerics:
            left = a.values().T if transpose_a else a.values()
            right = b.values().T if transpose_b else b.values()
            target = c.values()
            if accumulate:
                target += left @ right
            else:
                np.matmul(left, right, out=target)

    def _emit_steps(self, steps: MeshSteps, *, flops: int) -> None:
        """Emit steps of the mesh, as one operation with those right before, unless a CPE has begun those."""
        operations, scheduler = self.trace.operations, self.scheduler
        before = operations[-1] if operations else None
        if (
            isinstance(before, MeshSteps)
            and scheduler is not None
            and len(operations) > self.head
            and max(scheduler.position) < len(operations)
        ):
            operations[-1] = before.followed_by(steps)
            self.trace.totals.flops += flops
        else:
            self.trace.emit(steps, flops=flops)

    def row_broadcast(self, label: str) -> None:
        """Register communication along the rows: ties the clocks of each row."""
        if self.timing:
            self.trace.emit(RowBroadcast(label))

    def column_broadcast(self, label: str) -> None:
        """Register communication along the columns: ties the clocks of each column."""
        if self.timing:
            self.trace.emit(ColumnBroadcast(label))

    def sync(self, label: str) -> None:
        """All CPEs wait for one another."""
        if self.timing:
            self.trace.emit(Sync(label))

    def loop(self, name: str, iterations: int, *, steady: range | None = None, period: int = 1) -> Iterator[int]:
        """Iterate; with a scheduler at hand, whole periods that would only repeat are skipped.

        ``steady``: the iterations that do the same operations up to addresses, which advance by the same number of
        bytes from each to the next (with ``period``: to the next but so many), and up to buffers taken in turns. The
        iteration's number may jump ahead there, by an even number; what the program remembers must not depend on it.
        """
        forward = None
        if self.scheduler is not None and steady is not None and len(steady) > 2 * period:
            forward = Forward(scheduler=self.scheduler, loop=name, steady=steady, period=period)
        simulated = iteration = 0
        while iteration < iterations:
            if forward is not None and iteration in forward.steady:
                iteration += forward.skip(iteration)
                self.head = len(self.trace.operations)
                if iteration == iterations:
                    break
            yield iteration
            iteration += 1
            simulated += 1
        if self.timing:
            found = None if forward is None else forward.found
            self.trace.note_loop(LoopReport(name, iterations, simulated, forward is not None, found))

    def finish(self) -> Trace:
        """End the program. Raises UnfinishedTransfer if a transfer was never waited for."""
        waiting = [transfer.label for transfer in self.transfers if not transfer.done]
        if waiting:
            raise UnfinishedTransfer(f"the program ends without waiting for {', '.join(waiting)}")
        self.transfers.clear()
        return self.trace

    def _begin(self, direction: Direction, tile: Tile, array: MemoryArray, start: Start, mode: DmaMode) -> Transfer:
        if tile.dtype != array.dtype or len(tile.size) != len(array.shape):
            raise ValueError(
                f"{direction} between buffer {tile.name!r} {tile.dtype}{tile.size} and array "
                f"{array.name!r} {array.dtype}{array.shape}: dtype and number of axes must agree"
            )
        place: tuple[int, ...] | Integers
        place = np.asarray(start, dtype=np.int64) if tile.split is None else tuple(start)
        transfer = Transfer(
            number=len(self.transfers),
            direction=direction,
            tile=tile,
            array=array,
            start=place,
            mode=mode,
        )
        self.transfers.append(transfer)
        if self.timing:
            requests = self._requests(direction, tile, array, place, mode)
            self._meet(mode, f"begin of {transfer.label}")
            self.trace.emit(DmaStart(transfer.number, requests, transfer.label))
        return transfer

    def _meet(self, mode: DmaMode, label: str) -> None:
        """The CPEs that a request serves wait for one another."""
        if mode == "ROW":
            self.row_broadcast(label)
        elif mode != "PE":
            self.sync(label)

    def _access(self, direction: Direction, label: str, accesses: Sequence[GlobalAccess]) -> None:
        """Emit global accesses: a request of one line each and, at once, the wait for it."""
        for access in accesses:
            access.check_aligned(kernel=self._by)
        if not self.timing:
            return
        memory = self.processor.memory
        latency = ticks_from_cycles(memory.global_load_cycles if direction == "get" else memory.global_store_cycles)
        factors = tuple(self._line_factor(direction, access.array) for access in accesses)
        counts = tuple((access.width, access.array.dtype, access.counts().tobytes()) for access in accesses)
        key = ("global", direction, factors, counts)
        requests = self.counted.get(key)
        if requests is None:
            requests = self.counted[key] = global_requests(
                direction=direction, accesses=accesses, latency=latency, factors=factors, ticks=self.ticks
            )
        first = accesses[0]
        done = Transfer(len(self.transfers), direction, first.tile, first.array, first.starts, done=True)
        self.transfers.append(done)
        self.trace.emit(DmaStart(done.number, requests, label))
        self.trace.emit(DmaWait(done.number, label, 0))

    def _check_rows(self, label: str, tile: Tile) -> None:
        """Raise UnalignedAccess unless all rows of a buffer begin at a multiple of a vector; buffers themselves do."""
        row, wide = tile.size[-1] * tile.dtype.itemsize, self.processor.cpe.vector_lanes * tile.dtype.itemsize
        if row % wide and tile.bytes_per_cpe > row:
            raise UnalignedAccess(
                f"{self._by}CPE (0, 0) in {label!r} loads vectors of {wide} B from rows of {row} B of LDM buffer "
                f"{tile.name!r} {tile.size}: its second row begins at byte {row}, no multiple of {wide} B; pad the rows"
            )

    def _requests(
        self,
        direction: Direction,
        tile: Tile,
        array: MemoryArray,
        start: tuple[int, ...] | Integers,
        mode: DmaMode = "PE",
    ) -> Requests:
        """The requests' costs, remembered by all that they depend on."""
        line = self.processor.dma.line_bytes
        key: tuple[object, ...]
        strides, shape = array.strides, array.shape
        if isinstance(start, tuple):
            first = array.address + sum(at * stride for at, stride in zip(start, strides, strict=True))
            left = tuple(min(length - at, span) for length, at, span in zip(shape, start, tile.shape, strict=True))
            full = tuple(size >= length for size, length in zip(tile.size, shape, strict=True))
            before = tuple(min(at, 0) for at in start)
            key = (direction, array.common, first % line, strides, left, full, before, tile.size, tile.split, mode)
        else:
            phases = (array.address + start @ np.asarray(strides)) % line
            ends = np.minimum(np.asarray(shape) - start, tile.size)
            full = tuple(size >= length for size, length in zip(tile.size, shape, strict=True))
            clipped = np.minimum(start, 0).tobytes(), ends.tobytes()
            key = (direction, array.common, phases.tobytes(), *clipped, strides, full, tile.size)
        known = self.counted.get(key)
        if known is None:
            size, sharing = tile.size, 1
            if mode != "PE":
                if not isinstance(start, tuple):
                    raise ValueError(
                        f"{direction} of {tile.name!r} in DMA mode {mode} needs one start, not one per CPE"
                    )
                asked = collective(mode=mode, tile=tile, start=start)
                size, starts, sharing = asked.size, asked.starts, asked.sharing
            else:
                starts = self._starts(tile, start) if isinstance(start, tuple) else start
            box = Box(array=array, size=size, starts=starts)
            known = count(
                box=box,
                direction=direction,
                dma=self.processor.dma,
                ticks=self.ticks,
                line_factor=self._line_factor(direction, array),
                together=not (self.memory.contended and array.common),
            )
            if sharing > 1:
                known = replace(known, channel=known.channel // sharing)
            self.counted[key] = known
        return known

    def _line_factor(self, direction: Direction, array: MemoryArray) -> float:
        """How much longer a line takes where core groups share one memory."""
        if not self.memory.contended:
            return 1.0
        dma = self.processor.dma
        return dma.shared_put_factor if direction == "put" else dma.shared_get_factor if array.common else 1.0

    def _starts(self, tile: Tile, start: tuple[int, ...]) -> Integers:
        """Each CPE's start, shape (CPEs, axes), of an assembled box at ``start``."""
        rows, columns = self.mesh
        cpe = np.arange(rows * columns)
        starts = np.tile(np.asarray(start, dtype=np.int64), (rows * columns, 1))
        split = tile.split
        assert split is not None
        if split.rows is not None and split.rows == split.columns:
            starts[:, split.rows] += cpe * tile.size[split.rows]
            return starts
        if split.rows is not None:
            starts[:, split.rows] += cpe // columns * tile.size[split.rows]
        if split.columns is not None:
            starts[:, split.columns] += cpe % columns * tile.size[split.columns]
        return starts

    def _arrive(self, transfer: Transfer) -> None:
        source = transfer.array.data
        assert source is not None
        target = transfer.tile.data = np.empty(transfer.tile.shape, dtype=transfer.tile.dtype)
        if isinstance(transfer.start, tuple):
            load_region(target=target, source=source, start=transfer.start)
        else:
            load_part(target=target, source=source, starts=transfer.start)

    def _store(self, transfer: Transfer) -> None:
        target, source = transfer.array.data, transfer.outgoing
        assert target is not None
        assert source is not None
        if isinstance(transfer.start, tuple):
            store_region(target=target, source=source, start=transfer.start)
        else:
            store_part(target=target, source=source, starts=transfer.start)
        transfer.outgoing = None

    def _touch(self, label: str, reads: Sequence[Tile], writes: Sequence[Tile]) -> None:
        for tile in reads:
            tile.check_readable(by=label)
        for tile in writes:
            tile.check_writable(by=label)
            tile.state = "ready"


def dtype_name(dtype: np.dtype[np.floating]) -> str:
    """``fp64`` or ``fp32``."""
    return f"fp{8 * dtype.itemsize}"


def _ticks(cycles: float | Sequence[float]) -> Ticks:
    if isinstance(cycles, int | float):
        return ticks_from_cycles(cycles)
    return tuple(ticks_from_cycles(each) for each in cycles)
