"""A dynamical core on a grid of processes, each with a part of the globe: what it computes and how long it takes.

The grid is joined at opposite edges. All processes have equal parts and do the same at the same time, so that one clock
is exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.grids.weather_step import NUMBER_BYTES, WeatherStep
from sim.machine.spec import ProcessorSpec
from sim.network.protocol import Protocol
from sim.network.topology import Topology
from workloads.hpc.field_windows import cut_windows
from workloads.hpc.message_pattern import pattern_of
from workloads.hpc.node_costs import copy_time, kernel_time, launch_time
from workloads.hpc.numerics import Floats, Numerics, compute

Grid = tuple[int, int]
SIDES = ((0, 1), (0, -1), (1, 1), (1, -1))
"""Axis, and in which direction a message goes along it."""


def torus_neighbours(grid: Grid, axis: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All ranks, and for each the one ``step`` further along an axis; opposite edges are joined."""
    numbers = np.arange(grid[0] * grid[1]).reshape(grid)
    return numbers.ravel(), np.roll(numbers, -step, axis=axis).ravel()


@dataclass(frozen=True, kw_only=True)
class WeatherTiming:
    """A step of the core: picoseconds of the kernel with its launch, and of the messages to four neighbours."""

    compute: int
    halo_exchange: int

    @property
    def step(self) -> int:
        return self.compute + self.halo_exchange


def time_weather(
    kernel: WeatherStep, *, grid: Grid, topology: Topology, clock: KernelClock, persistent_threads: bool
) -> WeatherTiming:
    """A step on the ranks of ``topology``, dealt out to ``grid``."""
    processor = clock.processor
    protocol = Protocol.of(topology.network)
    exchange = 0
    for axis, step in SIDES:
        size = (kernel.columns if axis == 0 else kernel.rows) * kernel.channels * NUMBER_BYTES
        exchange += int(copy_time(processor, 2 * size))
        if grid[axis] > 1:
            source, target = torus_neighbours(grid, axis, step)
            pattern = pattern_of(topology=topology, protocol=protocol, source=source, destination=target)
            exchange += int(pattern.picoseconds(np.array(size)))
    launch = launch_time(processor, persistent_threads=persistent_threads)
    return WeatherTiming(compute=launch + kernel_time(kernel, clock), halo_exchange=exchange)


@dataclass(eq=False)
class Weather:
    """Fields on virtual processes. ``before`` and ``after``: of each rank, with a layer of neighbours, in turn.

    ``numerics``: steps on whole parts, or in the tiles. Raises ValueError unless the grid divides the globe equally.
    """

    kernel: WeatherStep
    grid: Grid
    processor: ProcessorSpec
    globe: Floats
    numerics: Numerics = "layer"
    before: list[Floats] = field(init=False)
    after: list[Floats] = field(init=False)
    sent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        rows, columns, channels = self.kernel.rows, self.kernel.columns, self.kernel.channels
        if self.globe.shape != (self.grid[0] * rows, self.grid[1] * columns, channels):
            raise ValueError(f"{self.grid} parts of ({rows}, {columns}, {channels}) are not {self.globe.shape}")
        self.before = []
        for part in range(self.grid[0] * self.grid[1]):
            mine = np.zeros((rows + 2, columns + 2, channels))
            mine[1:-1, 1:-1] = self.globe[self._part(part)]
            self.before.append(mine)
        self.after = [each.copy() for each in self.before]

    def step(self) -> None:
        """One step on."""
        for axis, step in SIDES:
            self._send(axis, step)
        for before, after in zip(self.before, self.after, strict=True):
            arrays = {"before": before, "after": after}
            compute(self.kernel, arrays, processor=self.processor, numerics=self.numerics)
        self.before, self.after = self.after, self.before

    def whole(self) -> Floats:
        """The fields of the globe."""
        found = np.zeros_like(self.globe)
        for rank, part in enumerate(self.before):
            found[self._part(rank)] = part[1:-1, 1:-1]
        return found

    def windows(self, rank: int, counts: Grid) -> Floats:
        """A rank's fields as samples of a network: (windows, rows, columns, channels)."""
        return cut_windows(self.before[rank], self.kernel, counts, processor=self.processor, numerics=self.numerics)

    def _part(self, rank: int) -> tuple[slice, slice]:
        row, column = divmod(rank, self.grid[1])
        rows, columns = self.kernel.rows, self.kernel.columns
        return slice(row * rows, (row + 1) * rows), slice(column * columns, (column + 1) * columns)

    def _send(self, axis: int, step: int) -> None:
        """Each process's points on one side to the layer of the next one there."""
        leaving: list[slice] = [slice(1, -1), slice(1, -1)]
        arriving = leaving.copy()
        leaving[axis] = slice(-2, -1) if step > 0 else slice(1, 2)
        arriving[axis] = slice(0, 1) if step > 0 else slice(-1, None)
        for source, target in zip(*torus_neighbours(self.grid, axis, step), strict=True):
            side = self.before[int(source)][tuple(leaving)].copy()
            self.sent["bytes"] += side.nbytes if self.grid[axis] > 1 else 0
            self.before[int(target)][tuple(arriving)] = side
