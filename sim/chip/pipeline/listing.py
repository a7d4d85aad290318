"""The issue table of a role: cycle by cycle what entered each pipe, and why what waited did wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sim.chip.pipeline.block import block_head, dispatch, row_head
from sim.chip.pipeline.instruction import Pipe
from sim.chip.pipeline.mesh import MeshRun
from sim.chip.pipeline.roles import Role, role_at
from sim.chip.pipeline.schedules import GemmShape, Schedule, gemm_program
from sim.chip.pipeline.scoreboard import Issue, Reason, issue_all
from sim.machine.spec import CpeSpec, ProcessorSpec

PARTS = ("loop", "block", "step")
_SIZE = 2
_LOOP_STEPS, _SHOWN_STEP = 8, 4
"""k-steps run, and which of them is shown: the first ones still fill FIFOs."""
_BLOCK_STEPS = 2
"""k-steps of a block that is shown whole."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An instruction that waits during a cycle."""

    instruction: str
    reason: Reason
    subject: str

    def __str__(self) -> str:
        return f"{self.instruction}: {self.reason.value} ({self.subject})"


@dataclass(frozen=True, kw_only=True)
class CycleRow:
    """A cycle of the table. ``p0`` and ``p1`` are None where the pipe took nothing."""

    cycle: int
    p0: str | None
    p1: str | None
    waiting: tuple[Waiting, ...]


def k_step_alone(*, cpe: CpeSpec, schedule: Schedule, role: Role, dtype: str, local: bool = False) -> int:
    """Cycles of a role's k-step when its FIFOs are never empty and never full. ``local``: it uses none."""
    kernel = schedule.parts(role=role, dtype=dtype, local=local)
    length = len(kernel.loop)
    issues = issue_all(instructions=(*kernel.prologue, *kernel.loop * 4), pipeline=cpe.pipeline)
    first = len(kernel.prologue) + 2 * length
    return issues[first + length].cycle - issues[first].cycle


def issue_table(
    *, processor: ProcessorSpec, schedule: Schedule, role: Role, dtype: str, part: str
) -> tuple[CycleRow, ...]:
    """The table of a role on the mesh, the other roles beside it. Cycles count from the first row.

    ``part``: ``loop`` one k-step after the FIFOs have filled, ``block`` a register block of two k-steps, ``step``
    that block with the choice of role before it. Needs a mesh of at least 2 × 2.
    """
    local = processor.mesh.remote is not None
    k = _LOOP_STEPS if part == "loop" else _BLOCK_STEPS
    row, column = next(
        (row, column)
        for row in range(_SIZE)
        for column in range(_SIZE)
        if role_at(row=row, column=column, step=0) == role
    )
    shape = GemmShape(rows=1, columns=1, k=k, steps=1)
    program = gemm_program(schedule=schedule, dtype=dtype, shape=shape, local=local)
    run = MeshRun(
        size=_SIZE, program=program, pipeline=processor.cpe.pipeline, mesh=processor.mesh, record=(row, column)
    )
    run.run()
    log = run.log(row=row, column=column)
    before = len(dispatch()) + len(row_head())
    if part == "step":
        return tuple(_rows(log, begin=0, end=log[-1].cycle + 1))
    if part == "block":
        return tuple(_rows(log, begin=log[before].cycle, end=log[-1].cycle + 1))
    kernel = schedule.parts(role=role, dtype=dtype, local=local)
    first = before + len(block_head(schedule.scalars)) + len(kernel.prologue) + _SHOWN_STEP * len(kernel.loop)
    return tuple(_rows(log, begin=log[first].cycle, end=log[first + len(kernel.loop)].cycle))


def _rows(log: Sequence[Issue], *, begin: int, end: int) -> Iterator[CycleRow]:
    issued: dict[tuple[int, Pipe], str] = {(each.cycle, each.pipe): each.instruction.text for each in log}
    waiting: dict[int, list[Waiting]] = {}
    for issue in log:
        cycles = iter(range(issue.entered, issue.cycle))
        for stall in issue.stalls:
            for cycle in islice(cycles, stall.cycles):
                why = Waiting(instruction=issue.instruction.text, reason=stall.reason, subject=stall.subject)
                waiting.setdefault(cycle, []).append(why)
    for cycle in range(begin, end):
        yield CycleRow(
            cycle=cycle - begin,
            p0=issued.get((cycle, Pipe.P0)),
            p1=issued.get((cycle, Pipe.P1)),
            waiting=tuple(waiting.get(cycle, ())),
        )
