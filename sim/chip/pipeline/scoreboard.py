"""The in-order two-pipe scoreboard: when each instruction issues, into which pipe, and what it waited for.

Rules (SWDNN17 §VI.A, THESIS §3.1.4 and table 3.2; sw26010 notes 1.1):

* Instructions issue in program order, at most two per cycle and one per pipe and cycle. An older instruction that
  cannot issue blocks the younger.
* RAW: a register can be read once its writer's latency has passed. WAW: it can be written again not before. Reading
  happens at issue, so a younger write never has to wait for an older read.
* A scalar integer instruction may use both pipes and takes P1. The younger of two takes P0. It competes for P1: beside
  an older instruction that needs P1 it waits (found in measurements: 59 instead of 46 cycles per GEMM block).
* A division keeps P0 for its whole latency.
* A branch ends its cycle: what follows it issues in the next one at the earliest. It costs nothing else.
* A receiving instruction waits for an entry of its FIFO, a sending one for a free place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sim.chip.pipeline.instruction import Instruction, Operation, Pipe
from sim.machine.spec import PipelineSpec


class Reason(Enum):
    """Why an instruction did not issue in a cycle."""

    OLDER = "older blocked"
    BRANCH = "behind a branch"
    RAW = "RAW"
    WAW = "WAW"
    FIFO_EMPTY = "FIFO empty"
    FIFO_FULL = "FIFO full"
    PIPE = "pipe busy"


@dataclass(frozen=True, kw_only=True)
class Stall:
    """``cycles`` consecutive cycles of waiting. ``subject`` is the register, pipe, bus or instruction waited for."""

    reason: Reason
    subject: str
    cycles: int

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.subject}) {self.cycles}"


@dataclass(frozen=True, kw_only=True)
class Issue:
    """An issued instruction. ``entered`` is the first cycle in which at most one older instruction was left.

    ``stalls`` tile the cycles from ``entered`` to ``cycle`` without gaps.
    """

    instruction: Instruction
    entered: int
    cycle: int
    pipe: Pipe
    stalls: tuple[Stall, ...]


class Scoreboard:
    """State of a CPE's pipes. Issue the instructions of a program one after the other.

    Without ``record`` the stalls are not worked out, which is faster; the cycles are the same.
    """

    def __init__(self, *, pipeline: PipelineSpec, record: bool = True) -> None:
        self.pipeline = pipeline
        self.record = record
        self.cycle = 0
        """Cycle of the latest issue."""
        self.issued = 0
        self._ready: dict[str, int] = {}
        self._free = {Pipe.P0: 0, Pipe.P1: 0}
        self._last: Instruction | None = None
        self._before_last = -1
        self._p1_taken_by_either = -1
        self._costs: dict[Operation, tuple[Pipe, int, int]] = {}

    @property
    def finished(self) -> int:
        """Cycle in which the last issued instruction is out of the issue stage."""
        return self.cycle + 1 if self.issued else 0

    def issue(self, instruction: Instruction, *, fifo: int = 0) -> Issue | None:
        """Issue the next instruction of the program. None without ``record``: its cycle is then ``cycle``.

        ``fifo`` is the first cycle in which its FIFO has an entry to take or a place to fill.
        """
        allowed, latency, occupies = self._cost(instruction)
        entered = self._before_last + 1
        behind = self.cycle
        if self._last is not None and self._last.operation is Operation.BRANCH:
            behind += 1
        earliest = max(entered, behind, fifo)
        for register in (*instruction.reads, *instruction.writes):
            earliest = max(earliest, self._ready.get(register, 0))
        cycle, pipe = self._place(allowed, earliest)
        stalls = self._stalls(instruction, entered=entered, cycle=cycle, fifo=fifo) if self.record else ()
        if pipe is Pipe.P1 and allowed is Pipe.EITHER:
            self._p1_taken_by_either = cycle
        self._free[pipe] = cycle + occupies
        for register in instruction.writes:
            self._ready[register] = cycle + latency
        self._before_last = self.cycle if self.issued else -1
        self.cycle, self._last = cycle, instruction
        self.issued += 1
        if not self.record:
            return None
        return Issue(instruction=instruction, entered=entered, cycle=cycle, pipe=pipe, stalls=stalls)

    def _cost(self, instruction: Instruction) -> tuple[Pipe, int, int]:
        found = self._costs.get(instruction.operation)
        if found is None:
            found = (instruction.pipe, instruction.latency(self.pipeline), instruction.occupies(self.pipeline))
            self._costs[instruction.operation] = found
        return found

    def _place(self, allowed: Pipe, earliest: int) -> tuple[int, Pipe]:
        """First cycle from ``earliest`` on in which a pipe takes the instruction, and the pipe."""
        if allowed is not Pipe.EITHER:
            return max(earliest, self._free[allowed]), allowed
        if self._free[Pipe.P1] <= earliest:
            return earliest, Pipe.P1
        if self._p1_taken_by_either == earliest and self._free[Pipe.P0] <= earliest:
            return earliest, Pipe.P0
        return self._free[Pipe.P1], Pipe.P1

    def _stalls(self, instruction: Instruction, *, entered: int, cycle: int, fifo: int) -> tuple[Stall, ...]:
        """The reason of each cycle from ``entered`` to ``cycle``, equal neighbours merged."""
        runs: list[tuple[Reason, str, int]] = []
        for waiting in range(entered, cycle):
            reason, subject = self._why(instruction, waiting, fifo)
            if runs and runs[-1][:2] == (reason, subject):
                runs[-1] = (reason, subject, runs[-1][2] + 1)
            else:
                runs.append((reason, subject, 1))
        return tuple(Stall(reason=reason, subject=subject, cycles=cycles) for reason, subject, cycles in runs)

    def _why(self, instruction: Instruction, cycle: int, fifo: int) -> tuple[Reason, str]:
        """The first rule that keeps the instruction from issuing in ``cycle``."""
        if self._last is not None and cycle < self.cycle:
            return Reason.OLDER, self._last.text
        if self._last is not None and self._last.operation is Operation.BRANCH and cycle == self.cycle:
            return Reason.BRANCH, self._last.text
        for register in instruction.reads:
            if self._ready.get(register, 0) > cycle:
                return Reason.RAW, register
        for register in instruction.writes:
            if self._ready.get(register, 0) > cycle:
                return Reason.WAW, register
        if fifo > cycle:
            empty = instruction.operation is Operation.RECEIVE
            return Reason.FIFO_EMPTY if empty else Reason.FIFO_FULL, str(instruction.bus)
        return Reason.PIPE, "P0" if instruction.pipe is Pipe.P0 else "P1"


def issue_all(*, instructions: tuple[Instruction, ...], pipeline: PipelineSpec) -> tuple[Issue, ...]:
    """The issue log of a program alone: its FIFOs are never empty and never full."""
    scoreboard = Scoreboard(pipeline=pipeline)
    issues = (scoreboard.issue(instruction) for instruction in instructions)
    return tuple(issue for issue in issues if issue is not None)
