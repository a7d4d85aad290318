"""The scoreboards of a square of CPEs, tied together by the words they send and receive.

Every instruction's issue cycle depends only on earlier ones, of its CPE or, through a bus, of others. So each CPE
runs ahead until it needs a cycle that another has not worked out yet; the order in which CPEs run changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sim.chip.errors import Deadlock
from sim.chip.pipeline.bus import Bus
from sim.chip.pipeline.instruction import SENDING, Instruction, Operation, latency
from sim.chip.pipeline.scoreboard import Issue, Scoreboard
from sim.machine.spec import MeshSpec, PipelineSpec

Program = Callable[[int, int], Iterator[Instruction]]
"""The instructions of the CPE in a row and column."""


class _Cpe:
    """A CPE's scoreboard and its place in its program."""

    def __init__(self, *, row: int, column: int, program: Program, scoreboard: Scoreboard) -> None:
        self.row, self.column = row, column
        self.instructions = program(row, column)
        self.scoreboard = scoreboard
        self.next = next(self.instructions, None)
        self.issues: list[Issue] = []


class MeshRun:
    """Runs one program on ``size`` × ``size`` CPEs. ``record`` keeps the issue log of one CPE, (row, column)."""

    def __init__(
        self,
        *,
        size: int,
        program: Program,
        pipeline: PipelineSpec,
        mesh: MeshSpec,
        record: tuple[int, int] | None = None,
    ) -> None:
        self.pipeline = pipeline
        taking = latency(Operation.RECEIVE, pipeline)
        self.rows = [Bus(members=size, mesh=mesh, receive_latency=taking) for _ in range(size)]
        self.columns = [Bus(members=size, mesh=mesh, receive_latency=taking) for _ in range(size)]
        self.cpes = [
            _Cpe(
                row=row,
                column=column,
                program=program,
                scoreboard=Scoreboard(pipeline=pipeline, record=(row, column) == record),
            )
            for row in range(size)
            for column in range(size)
        ]

    def run(self) -> int:
        """Cycles until the last CPE is done. Raises Deadlock, naming who waits for what, if not all come to an end."""
        moved = True
        while moved:
            moved = False
            for cpe in self.cpes:
                moved = self._advance(cpe) or moved
        stuck = [cpe for cpe in self.cpes if cpe.next is not None]
        if stuck:
            waits = (f"CPE ({cpe.row}, {cpe.column}) in {cpe.next.text if cpe.next else ''}" for cpe in stuck[:4])
            raise Deadlock(f"{len(stuck)} CPEs wait for ever: {'; '.join(waits)}")
        return max(cpe.scoreboard.finished for cpe in self.cpes)

    def log(self, *, row: int, column: int) -> tuple[Issue, ...]:
        """The issue log of a CPE, empty unless it was recorded."""
        return next(tuple(cpe.issues) for cpe in self.cpes if (cpe.row, cpe.column) == (row, column))

    def _advance(self, cpe: _Cpe) -> bool:
        """Issue as far as what is known allows; whether anything was issued."""
        before = cpe.scoreboard.issued
        while cpe.next is not None:
            instruction = cpe.next
            # what is loaded and sent reaches the FIFO only after the load
            delay = self.pipeline.vector_load if instruction.operation is Operation.LOAD_AND_SEND else 0
            fifo: int | None = 0
            if instruction.bus is not None:
                bus, member = self._bus(cpe, instruction)
                fifo = bus.room(member) if instruction.operation in SENDING else bus.arrival(member)
            if fifo is None:
                break
            fifo = max(0, fifo - delay)
            issue = cpe.scoreboard.issue(instruction, fifo=fifo)
            if issue is not None:
                cpe.issues.append(issue)
            if instruction.bus is not None:
                cycle = cpe.scoreboard.cycle
                if instruction.operation is Operation.RECEIVE:
                    bus.take(member, cycle)
                else:
                    bus.send(member, cycle + delay)
            cpe.next = next(cpe.instructions, None)
        return cpe.scoreboard.issued > before

    def _bus(self, cpe: _Cpe, instruction: Instruction) -> tuple[Bus, int]:
        if instruction.bus == "row":
            return self.rows[cpe.row], cpe.column
        return self.columns[cpe.column], cpe.row
