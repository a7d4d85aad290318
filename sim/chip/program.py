"""The trace that a kernel program emits: one list of operations for all 64 CPEs.

The operations are the same for all CPEs up to what varies with the CPE's place: compute times may be given per CPE,
transfers have per-CPE addresses, lengths and costs. CPEs are numbered row-major over the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sim.chip.dma import Requests

Ticks: TypeAlias = int | tuple[int, ...]
"""One duration for all CPEs, or one per CPE."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Busy for ``ticks``; nothing outside the CPE is touched."""

    ticks: Ticks
    label: str


@dataclass(frozen=True, slots=True)
class DmaStart:
    """Each CPE hands its request of transfer ``handle`` to the engine."""

    handle: int
    requests: Requests
    label: str


@dataclass(frozen=True, slots=True)
class DmaWait:
    """Each CPE waits until its own request of transfer ``handle`` is complete."""

    handle: int
    label: str


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
    """``steps`` times a row broadcast, a column broadcast and a compute of ``ticks``: a mesh GEMM."""

    steps: int
    ticks: Ticks
    label: str


Operation: TypeAlias = Compute | DmaStart | DmaWait | RowBroadcast | ColumnBroadcast | Sync | MeshSteps


@dataclass(frozen=True, slots=True)
class LoopHead:
    """Iteration ``iteration`` of ``loop`` begins at operation number ``position``."""

    loop: str
    iteration: int
    position: int


@dataclass
class Trace:
    """What a program emitted, with the heads of its loops and its useful floating-point operations."""

    operations: list[Operation] = field(default_factory=list)
    heads: list[LoopHead] = field(default_factory=list)
    flops: int = 0
    ldm_high_water: int = 0
