"""The trace that a kernel program emits: one list of operations for all 64 CPEs.

The operations are the same for all CPEs up to what varies with the CPE's place: compute times may be given per CPE,
transfers have per-CPE addresses, lengths and costs. CPEs are numbered row-major over the mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sim.chip.counters import LoopReport
from sim.chip.dma import Requests
from sim.time import ticks_from_cycles

Ticks: TypeAlias = int | tuple[int, ...]
"""One duration for all CPEs, or one per CPE."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Busy for ``ticks``; nothing outside the CPE is touched."""

    ticks: Ticks
    label: str

    @classmethod
    def of(cls, cycles: float | Sequence[float], label: str) -> Compute:
        """Of cycles: one number for all CPEs, or one for each."""
        if isinstance(cycles, int | float):
            return cls(ticks_from_cycles(cycles), label)
        return cls(tuple(ticks_from_cycles(each) for each in cycles), label)


@dataclass(frozen=True, slots=True)
class DmaStart:
    """Each CPE hands its request of transfer ``handle`` to the engine."""

    handle: int
    requests: Requests
    label: str


@dataclass(frozen=True, slots=True)
class DmaWait:
    """Each CPE waits until its own request of transfer ``handle`` is complete.

    ``startup``: ticks until it hears of that, None for those of DMA.
    """

    handle: int
    label: str
    startup: int | None = None


@dataclass(frozen=True, slots=True)
class RowBroadcast:
    """Register communication along each row: its CPEs leave together, one latency after the last has come."""

    label: str


@dataclass(frozen=True, slots=True)
class ColumnBroadcast:
    """The same along each column."""

    label: str


@dataclass(frozen=True, slots=True)
class Sync:
    """All CPEs leave together after the last has come."""

    label: str


@dataclass(frozen=True, slots=True)
class MeshSteps:
    """``steps`` times a row broadcast, a column broadcast and a compute, ``ticks`` of compute in all: mesh GEMMs.

    All CPEs compute equally long, so that they come to every step together and only the first one can find them apart.
    """

    steps: int
    ticks: int
    label: str

    def followed_by(self, other: MeshSteps) -> MeshSteps:
        """Both, one right after the other."""
        return MeshSteps(self.steps + other.steps, self.ticks + other.ticks, self.label)


Operation: TypeAlias = Compute | DmaStart | DmaWait | RowBroadcast | ColumnBroadcast | Sync | MeshSteps


@dataclass
class Totals:
    """What the operations of a trace move and compute, all CPEs together."""

    get_bytes: int = 0
    put_bytes: int = 0
    dma_lines: int = 0
    dma_requests: int = 0
    flops: int = 0

    def add(self, other: Totals, *, times: int = 1) -> None:
        """Add ``other``, ``times`` over."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + times * value)

    def since(self, before: Totals) -> Totals:
        """What has come since ``before``."""
        return Totals(**{name: value - getattr(before, name) for name, value in vars(self).items()})


@dataclass
class Trace:
    """What a program emitted, and what that moves and computes.

    ``skipped`` notes where whole periods of a loop were left out: the number of operations before them, the loop and
    how many. Their totals count.
    """

    operations: list[Operation] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    transfers: int = 0
    ldm_high_water: int = 0
    kernel: str = ""
    skipped: list[tuple[int, str, int]] = field(default_factory=list)
    loops: dict[str, LoopReport] = field(default_factory=dict)

    def emit(self, operation: Operation, *, flops: int = 0) -> None:
        """Append an operation."""
        self.operations.append(operation)
        totals = self.totals
        totals.flops += flops
        if isinstance(operation, DmaStart):
            self.transfers += 1
            requests = operation.requests
            if requests.direction == "get":
                totals.get_bytes += requests.total_bytes
            else:
                totals.put_bytes += requests.total_bytes
            totals.dma_lines += requests.total_lines
            totals.dma_requests += requests.total_descriptors

    def emit_steps(self, steps: MeshSteps, *, flops: int, fixed: int) -> None:
        """Append steps of the mesh, to those right before unless these are among the first ``fixed`` operations."""
        operations = self.operations
        before = operations[-1] if operations else None
        if isinstance(before, MeshSteps) and len(operations) > fixed:
            operations[-1] = before.followed_by(steps)
            self.totals.flops += flops
        else:
            self.emit(steps, flops=flops)

    def note_loop(self, report: LoopReport) -> None:
        """A loop came to its end."""
        earlier = self.loops.get(report.name)
        self.loops[report.name] = report if earlier is None else earlier.with_another(report)
