"""What a core group's transfers ask of the memory, counted once for all that cost the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sim.chip.dma import Box, Direction, DmaTicks, Integers, Requests, count
from sim.chip.dma_modes import DmaMode, collective
from sim.chip.global_access import GlobalAccess, global_requests
from sim.chip.memory import MemoryArray, MemoryUse
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_cycles


@dataclass(eq=False)
class RequestCounter:
    """Counts the requests of a core group of ``processor`` that uses the memory as ``memory`` says."""

    processor: ProcessorSpec
    memory: MemoryUse
    ticks: DmaTicks = field(init=False)
    counted: dict[tuple[object, ...], Requests] = field(default_factory=dict)
    """By all that they depend on."""

    def __post_init__(self) -> None:
        self.ticks = DmaTicks.of(self.processor)

    def dma(
        self, direction: Direction, tile: Tile, array: MemoryArray, start: tuple[int, ...] | Integers, mode: DmaMode
    ) -> Requests:
        """Of a DMA transfer between ``tile`` and the box of ``array`` at ``start``.

        ``start``: one of the assembled tile, or per CPE, shape (CPEs, axes), in mode PE. Raises ModeNotAllowed.
        """
        key = (direction, array.common, array.strides, tile.size, tile.split, mode, self._place(tile, array, start))
        known = self.counted.get(key)
        if known is not None:
            return known
        size, sharing = tile.size, 1
        if mode != "PE":
            if not isinstance(start, tuple):
                raise ValueError(f"{direction} of {tile.name!r} in DMA mode {mode} needs one start, not one per CPE")
            asked = collective(mode=mode, tile=tile, start=start)
            size, starts, sharing = asked.size, asked.starts, asked.sharing
        else:
            starts = tile.starts(start) if isinstance(start, tuple) else start
        requests = count(
            box=Box(array=array, size=size, starts=starts),
            direction=direction,
            dma=self.processor.dma,
            ticks=self.ticks,
            line_factor=self._line_factor(direction, array),
            together=not (self.memory.contended and array.common),
        )
        if sharing > 1:
            requests = replace(requests, channel=requests.channel // sharing)
        self.counted[key] = requests
        return requests

    def accesses(self, direction: Direction, accesses: Sequence[GlobalAccess]) -> Requests:
        """Of loads or stores without DMA that are issued side by side."""
        memory = self.processor.memory
        latency = ticks_from_cycles(memory.global_load_cycles if direction == "get" else memory.global_store_cycles)
        factors = tuple(self._line_factor(direction, access.array) for access in accesses)
        counts = tuple((access.width, access.array.dtype, access.counts().tobytes()) for access in accesses)
        key = (direction, factors, counts)
        requests = self.counted.get(key)
        if requests is None:
            requests = self.counted[key] = global_requests(
                direction=direction, accesses=accesses, latency=latency, factors=factors, ticks=self.ticks
            )
        return requests

    def _place(self, tile: Tile, array: MemoryArray, start: tuple[int, ...] | Integers) -> tuple[object, ...]:
        """Where boxes begin within their lines, and what of them lies inside the array."""
        line, strides, shape = self.processor.dma.line_bytes, array.strides, array.shape
        full = tuple(size >= length for size, length in zip(tile.size, shape, strict=True))
        if isinstance(start, tuple):
            first = array.address + sum(at * stride for at, stride in zip(start, strides, strict=True))
            left = tuple(min(length - at, span) for length, at, span in zip(shape, start, tile.shape, strict=True))
            before = tuple(min(at, 0) for at in start)
            return first % line, left, before, full
        phases = (array.address + start @ np.asarray(strides)) % line
        ends = np.minimum(np.asarray(shape) - start, tile.size)
        return phases.tobytes(), ends.tobytes(), np.minimum(start, 0).tobytes(), full

    def _line_factor(self, direction: Direction, array: MemoryArray) -> float:
        """How much longer a line takes where core groups share one memory."""
        if not self.memory.contended:
            return 1.0
        dma = self.processor.dma
        return dma.shared_put_factor if direction == "put" else dma.shared_get_factor if array.common else 1.0
