"""Micro-benchmarks of the DMA engine: programs of the simulated core group, timed by its scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sim.chip.core_group import CoreGroup, Transfer
from sim.chip.dma import Direction, Integers
from sim.chip.memory import MemoryArray
from sim.chip.scheduler import schedule
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec
from sim.time import seconds_from_ticks, ticks_from_seconds

FP32: Final = np.dtype(np.float32)
FP64: Final = np.dtype(np.float64)


@dataclass(frozen=True, kw_only=True)
class OneTransfer:
    """``cpes`` transfer ``blocks`` blocks of ``block_bytes`` each, once.

    ``pitch_bytes`` from one block of a CPE to its next; ``interleaved`` CPEs in a row of numbers share the gaps.
    """

    direction: Direction
    cpes: Sequence[int]
    blocks: int
    block_bytes: int
    pitch_bytes: int
    interleaved: int = 1
    base_bytes: int = 0

    def gigabytes_per_second(self, processor: ProcessorSpec, *, skew_seconds: float = 0.0) -> float:
        """All bytes over the time from the first CPE's start to the last one's end; they start one by one."""
        item = FP32.itemsize
        groups = -(-len(self.cpes) // self.interleaved)
        array = MemoryArray(
            name="x",
            shape=(groups * self.blocks, self.pitch_bytes // item),
            dtype=FP32,
            address=self.base_bytes,
        )
        group = CoreGroup(processor=processor, numerics=False)
        tile = group.alloc("x", size=(self.blocks, self.block_bytes // item), dtype=FP32)
        starts = np.full((group.cpes, 2), array.shape[0], dtype=np.int64)  # outside the array: no transfer
        order = np.arange(len(self.cpes))
        starts[list(self.cpes), 0] = order // self.interleaved * self.blocks
        starts[list(self.cpes), 1] = order % self.interleaved * (self.block_bytes // item)
        move(group, self.direction, tile, array, starts)
        clock = processor.clock_hertz
        begin = [0] * group.cpes
        for number, cpe in enumerate(self.cpes):
            begin[cpe] = ticks_from_seconds(number * skew_seconds, clock_hertz=clock)
        timing = schedule(trace=group.finish(), processor=processor, start=begin)
        last = max(timing.finish[cpe] for cpe in self.cpes)
        return (timing.get_bytes + timing.put_bytes) / seconds_from_ticks(last, clock_hertz=clock) / 1e9


def move(group: CoreGroup, direction: Direction, tile: Tile, array: MemoryArray, starts: Integers) -> None:
    """A transfer and its wait."""
    group.wait(begin(group, direction, tile, array, starts))


def begin(group: CoreGroup, direction: Direction, tile: Tile, array: MemoryArray, starts: Integers) -> Transfer:
    """Start a transfer; what a benchmark puts need not have been computed."""
    if direction == "get":
        return group.get(tile, array, starts)
    group.compute("nothing", cycles=0, writes=[tile])
    return group.put(tile, array, starts)


def first_columns(processor: ProcessorSpec, cpes: int) -> list[int]:
    """The first ``cpes`` CPEs column by column, in the order of their numbers (which go row by row)."""
    mesh = processor.mesh
    return sorted(number % mesh.rows * mesh.columns + number // mesh.rows for number in range(cpes))
