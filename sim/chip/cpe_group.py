"""What the 64 per-CPE programs of a core group share: the DMA engine, their meetings over the mesh, the clock."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import simpy

from sim.chip.cpe_engine import PlainEngine
from sim.chip.dma import DmaTicks
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_cycles

Value = TypeVar("Value")
Steps: TypeAlias = Generator[simpy.Event, Any, Value]
"""What takes simulated time and gives a value in the end."""


@dataclass(eq=False)
class Meeting:
    """CPEs that leave together, ``ticks`` after the last has come."""

    env: simpy.Environment
    members: int
    ticks: int
    gate: simpy.Event = field(init=False)
    come: int = 0
    value: Any = None

    def __post_init__(self) -> None:
        self.gate = self.env.event()

    def join(self, value: Any) -> Steps[Any]:
        """Wait for the others; returns the value that one of them brought."""
        if value is not None:
            self.value = value
        self.come += 1
        gate = self.gate
        if self.come == self.members:
            brought, self.value, self.come, self.gate = self.value, None, 0, self.env.event()
            gate.succeed(brought)
        found = yield gate
        yield self.env.timeout(self.ticks)
        return found


class CpeGroup:
    """What the CPEs of a core group share: engine, meetings, clock."""

    def __init__(self, processor: ProcessorSpec) -> None:
        mesh = processor.mesh
        self.processor = processor
        self.env = simpy.Environment()
        self.ticks = DmaTicks.of(processor)
        self.engine = PlainEngine(
            self.env,
            columns=mesh.columns,
            columns_per_bus=processor.dma.columns_per_bus,
            bus_lines=self.ticks.bus_lines,
        )
        latency = ticks_from_cycles(mesh.latency_cycles)
        self.rows = [Meeting(self.env, mesh.columns, latency) for _ in range(mesh.rows)]
        self.columns = [Meeting(self.env, mesh.rows, latency) for _ in range(mesh.columns)]
        self.everyone = Meeting(self.env, mesh.rows * mesh.columns, ticks_from_cycles(mesh.sync_cycles))
        self.moved = {"get": 0, "put": 0, "lines": 0, "requests": 0}
