"""Loads and stores between registers and main memory, without DMA: what they cost.

An access waits its whole latency (177 cycles for a load, THESIS citing Lin et al.) unless others are under way with
it, and it takes one memory transaction of 128 B whatever it moves. Transactions pass the memory at the same rate as
lines of DMA, so 64 CPEs get 8 B for a line's 4.75 ns, 1.7 GB/s of doubles and 6.7 GB/s of vectors: published are 1.5
GB/s (STREAM, SWATOP citing Xu et al.), 3 GB/s (THESIS citing Lin et al.) and 8 GB/s "physical" (SWDNN17, TACO18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.chip.dma import Box, Direction, DmaTicks, Integers, Requests
from sim.chip.errors import UnalignedAccess
from sim.chip.memory import MemoryArray
from sim.chip.tile import Tile
from sim.chip.transfer import load_part, store_part


@dataclass(frozen=True, eq=False)
class GlobalAccess:
    """Each CPE's accesses to a box of ``array`` from its start, shape (CPEs, axes).

    ``tile`` takes or gives the numbers. ``times``: how often each is accessed, for all CPEs or for
    each. ``width``: elements an access moves.
    """

    tile: Tile
    array: MemoryArray
    starts: Integers
    times: int | Integers = 1
    width: int = 1

    @property
    def box(self) -> Box:
        return Box(array=self.array, size=self.tile.size, starts=self.starts)

    def counts(self) -> Integers:
        """Accesses of each CPE; none to what lies outside the array."""
        _, extent = self.box.bounds()
        wide = -(-extent[:, -1] // self.width)
        return np.asarray(np.prod(extent[:, :-1], axis=1) * wide * self.times, dtype=np.int64)

    def load(self) -> None:
        """The numbers come into the tile."""
        assert self.array.data is not None
        target = self.tile.data = np.empty(self.tile.shape, dtype=self.tile.number_dtype)
        load_part(target=target, source=self.array.data, starts=self.starts)

    def store(self) -> None:
        """The tile's numbers go to memory."""
        assert self.array.data is not None
        store_part(target=self.array.data, source=self.tile.values(), starts=self.starts)

    def check_aligned(self, *, kernel: str) -> None:
        """Raise UnalignedAccess, naming the first CPE, if a wide access does not begin at a multiple of its width."""
        if self.width == 1:
            return
        wide = self.width * self.array.dtype.itemsize
        low, extent = self.box.bounds()
        strides = np.asarray(self.array.strides, dtype=np.int64)
        addresses = self.array.address + low @ strides
        steps = ((extent > 1) * strides % wide)[:, :-1].any(axis=1)
        wrong = (extent > 0).all(axis=1) & ((addresses % wide != 0) | steps)
        if wrong.any():
            cpe = int(np.argmax(wrong))
            row, column = divmod(cpe, self.tile.mesh[1])
            raise UnalignedAccess(
                f"{kernel}CPE ({row}, {column}) accesses {self.array.name!r} {self.array.shape} at byte "
                f"{addresses[cpe]} for {self.tile.name!r} {self.tile.size} by vectors of {wide} B: rows have to begin "
                f"at multiples of {wide} B"
            )


def global_requests(
    *,
    direction: Direction,
    accesses: Sequence[GlobalAccess],
    latency: int,
    factors: Sequence[float],
    ticks: DmaTicks,
) -> Requests:
    """What the memory has to serve, if the accesses are issued side by side, one of each at a time.

    ``latency`` in ticks of one access, its own transaction included: the CPE's channel is taken so long.
    ``factors``: how much longer a line of each takes.
    """
    counts = [access.counts() for access in accesses]
    lines = np.sum(counts, axis=0)
    service = np.sum(
        [count * round(ticks.line * factor) for count, factor in zip(counts, factors, strict=True)], axis=0
    )
    quantum = service // np.maximum(lines, 1)
    moved = [count * access.width * access.array.dtype.itemsize for count, access in zip(counts, accesses, strict=True)]
    return Requests(
        direction=direction,
        descriptors=np.zeros_like(lines),
        blocks=lines,
        lines=lines,
        bytes=np.sum(moved, axis=0),
        quantum=quantum,
        first=service - quantum * lines,
        channel=np.max(counts, axis=0) * latency,
    )
