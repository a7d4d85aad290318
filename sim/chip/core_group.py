"""A core group as kernels program it: allocate, transfer, broadcast, compute; it computes and emits a trace.

Running a kernel program executes its numerics in program order (``numerics=True``) and emits the operations that
the scheduler times (``timing=True``); either can be left out, and neither looks at the other's results. Buffers are
checked in every mode: data of a get arrive at its wait, a put's data reach memory at its wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.chip.counters import LoopReport
from sim.chip.dma import Direction, Integers, Requests
from sim.chip.dma_modes import DmaMode, check_mode
from sim.chip.errors import UnfinishedTransfer
from sim.chip.forward import BUFFERS, Forward
from sim.chip.global_access import GlobalAccess
from sim.chip.ldm import Ldm
from sim.chip.memory import MemoryArray, MemoryUse
from sim.chip.mesh_gemm import mesh_gemm_steps, multiply
from sim.chip.pipeline.schedules import DEFAULT_SCHEDULE
from sim.chip.program import ColumnBroadcast, Compute, DmaStart, DmaWait, RowBroadcast, Sync, Trace
from sim.chip.requests import RequestCounter
from sim.chip.scheduler import Scheduler
from sim.chip.stretch import Ahead, Stretches, suits
from sim.chip.tile import Split, Tile
from sim.chip.transfer import Transfer
from sim.machine.spec import CpeSpec, ProcessorSpec

__all__ = ["CoreGroup", "Start", "Transfer"]

Start = Sequence[int] | Integers


@dataclass(eq=False)
class CoreGroup:
    """One core group of ``processor``; see the module's docstring for the modes.

    ``costs``: the chip whose costs count, where programs are to keep the plans that they take on ``processor``; it may
    differ in times and rates, not in what it is built of.
    ``scheduler``: times ``trace`` while it is emitted, so that loops can be cut short; only without numerics, which
    need every iteration. ``kernel`` is named by errors. ``arithmetic``: what floating-point numbers are computed with
    inside the LDM whatever their format there; they are rounded when they are put.
    """

    processor: ProcessorSpec
    numerics: bool = True
    timing: bool = True
    memory: MemoryUse = field(default_factory=MemoryUse)
    scheduler: Scheduler | None = None
    kernel: str = ""
    arithmetic: np.dtype[np.floating] | None = None
    costs: ProcessorSpec | None = None
    ldm: Ldm = field(init=False)
    trace: Trace = field(default_factory=Trace)
    head: int = 0
    """Operations before the last head of a loop that is watched: nothing is added to them."""
    transfers: list[Transfer] = field(default_factory=list)
    requests: RequestCounter = field(init=False)

    def __post_init__(self) -> None:
        self.requests = RequestCounter(self.timed, self.memory)
        rows, columns = self.mesh
        where = f"CPE (0, 0) to ({rows - 1}, {columns - 1})"
        self.ldm = Ldm(capacity=self.processor.cpe.ldm_bytes, owner=f"{self._by}{where}: ")
        self.trace.kernel = self.kernel

    @property
    def _by(self) -> str:
        """How errors begin."""
        return f"kernel {self.kernel!r}, " if self.kernel else ""

    @property
    def mesh(self) -> tuple[int, int]:
        """Rows and columns of the mesh."""
        return self.processor.mesh.rows, self.processor.mesh.columns

    @property
    def cpes(self) -> int:
        return self.processor.cpes_per_core_group

    @property
    def timed(self) -> ProcessorSpec:
        """The chip whose costs count."""
        return self.processor if self.costs is None else self.costs

    @property
    def cpe(self) -> CpeSpec:
        """What a CPE's work costs by."""
        return self.timed.cpe

    def alloc(
        self, name: str, *, size: Sequence[int], dtype: np.dtype[np.floating], split: Split | None = None
    ) -> Tile:
        """A buffer of ``size`` elements in every CPE's LDM, NaN-filled in numeric runs.

        ``split`` says how the CPEs' parts make up one assembled array; None: unrelated parts.
        Raises LdmOverflow.
        """
        tile = Tile(
            name=name,
            size=tuple(size),
            dtype=dtype,
            split=split,
            mesh=self.mesh,
            numerics=self.numerics,
            arithmetic=self.arithmetic,
        )
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

    def asked(self, direction: Direction, tile: Tile, array: MemoryArray, start: Start) -> Requests:
        """What such a transfer would ask of the memory: one object for all that cost the same."""
        return self.requests.dma(direction, tile, array, _place(tile, start), "PE")

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
            transfer.complete(numerics=self.numerics)

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
                access.load()

    def global_store(self, label: str, access: GlobalAccess) -> None:
        """Store to memory without DMA, one after the other. The values are spent. Raises UnalignedAccess."""
        access.tile.check_readable(by=label)
        self._access("put", label, (access,))
        access.tile.state = "fresh"
        if self.numerics:
            access.store()
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
            wide = self.processor.cpe.lanes(f"fp{8 * tile.dtype.itemsize}") * tile.dtype.itemsize
            tile.check_rows(by=f"{self._by}CPE (0, 0) in {label!r}", wide=wide)
        if self.timing:
            self.trace.emit(Compute.of(cycles() if callable(cycles) else cycles, label), flops=flops)
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
        schedule: str = DEFAULT_SCHEDULE,
        k_step_residual: float = 0.0,
    ) -> None:
        """``c (+)= op(a)·op(b)`` over the mesh, in as many broadcast steps as the mesh has columns.

        At step t column t broadcasts its part of a along the rows and row t its part of b along the columns
        (SWDNN17 Fig. 3). ``transpose_a``: a is stored (k, m); ``transpose_b``: b is stored (n, k).
        ``schedule`` is the micro-kernel's, each k-step ``k_step_residual`` cycles longer than the scoreboard says.
        """
        self._touch(label, (a, b, c) if accumulate else (a, b), (c,))
        if self.timing:
            steps = mesh_gemm_steps(
                label,
                c=c,
                a=a,
                transpose_a=transpose_a,
                processor=self.timed,
                schedule=schedule,
                k_step_residual=k_step_residual,
            )
            # what a CPE has begun, or a loop compares with, stays as it is
            fixed = len(self.trace.operations) if self.scheduler is None else max(self.head, *self.scheduler.position)
            self.trace.emit_steps(steps, flops=flops, fixed=fixed)
        if self.numerics:
            multiply(c=c, a=a, b=b, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=accumulate)

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

    def loop(
        self,
        name: str,
        iterations: int,
        *,
        steady: range | None = None,
        period: int = 1,
        buffers: int = BUFFERS,
        ahead: Ahead | None = None,
    ) -> Iterator[int]:
        """Iterate; with a scheduler at hand, whole periods that would only repeat are skipped.

        ``steady``: the iterations that do the same operations up to addresses, which advance by the same number of
        bytes from each to the next (with ``period``: to the next but so many), and up to ``buffers`` taken in turns.
        ``ahead``: equal for iterations of these whose operations cost the same. The iteration's number may jump ahead
        there, by a multiple of these; what the program remembers must not depend on it.
        """
        forward: Forward | Stretches | None = None
        if self.scheduler is not None and steady is not None:
            if ahead is not None and suits(steady, period):
                forward = Stretches(scheduler=self.scheduler, loop=name, steady=steady, ahead=ahead, buffers=buffers)
            elif len(steady) > 2 * period:
                forward = Forward(scheduler=self.scheduler, loop=name, steady=steady, period=period, buffers=buffers)
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
        place = _place(tile, start)
        transfer = Transfer(len(self.transfers), direction, tile, array, place, mode)
        transfer.check()
        self.transfers.append(transfer)
        if self.timing:
            requests = self.requests.dma(direction, tile, array, place, mode)
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
        requests = self.requests.accesses(direction, accesses)
        first = accesses[0]
        done = Transfer(len(self.transfers), direction, first.tile, first.array, first.starts, done=True)
        self.transfers.append(done)
        self.trace.emit(DmaStart(done.number, requests, label))
        self.trace.emit(DmaWait(done.number, label, 0))

    def _touch(self, label: str, reads: Sequence[Tile], writes: Sequence[Tile]) -> None:
        for tile in reads:
            tile.check_readable(by=label)
        for tile in writes:
            tile.check_writable(by=label)
            tile.state = "ready"


def _place(tile: Tile, start: Start) -> tuple[int, ...] | Integers:
    """Where a transfer begins: of a split tile as a whole, of others for each CPE."""
    return np.asarray(start, dtype=np.int64) if tile.split is None else tuple(start)
