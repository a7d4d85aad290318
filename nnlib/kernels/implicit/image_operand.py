"""An operand of the image-size-aware plan: the next tile comes while the last one is used, and is converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nnlib.precision import DTYPES
from sim.chip.dma import Integers
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile
from sim.machine.spec import CpeSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

MATRIX = Split(rows=0, columns=1)


def cycles_to_convert(*, cpe: CpeSpec, elements: int) -> float:
    """Cycles in which a CPE turns fp32 into fp64 by vectors: four are loaded as fp32 and stored as fp64.

    A loop over single elements would take 14 cycles for each, too many for the rates in print of any fp32 convolution.
    """
    return stream_cycles(cpe=cpe, body=Body(loads=1, stores=1), elements=elements)


class Operand:
    """Buffers of an operand whose tile has ``size``; ``arrange`` turns what came, (CPEs, *size), into numbers to use.

    Two buffers, or where operands are converted one, which is free again after that, and one of fp64.
    """

    def __init__(
        self,
        core_group: CoreGroup,
        name: str,
        array: MemoryArray,
        size: tuple[int, ...],
        *,
        converts: bool,
        arrange: Callable[[Array], Array],
    ) -> None:
        self.core_group, self.name, self.array, self.arrange = core_group, name, array, arrange
        count = 1 if converts else 2
        self.raw = [core_group.alloc(f"{name}{i}", size=size, dtype=array.dtype) for i in range(count)]
        self.wide = core_group.alloc(f"{name}_fp64", size=size, dtype=DTYPES["fp64"]) if converts else None
        self.next = 0
        self.under_way: Transfer | None = None
        self.current: Tile | None = None
        self.numbers: Array | None = None

    def fetch(self, starts: Integers) -> None:
        """Start the transfer of the next tile."""
        self.under_way = self.core_group.get(self.raw[self.next], self.array, starts)

    def arrive(self) -> None:
        """Wait for the tile that was fetched last, and convert it; it can be used now."""
        assert self.under_way is not None
        self.core_group.wait(self.under_way)
        self.under_way = None
        raw, wide = self.raw[self.next], self.wide
        self.next = (self.next + 1) % len(self.raw)
        if wide is None:
            self.current = raw
        else:
            target = wide

            def run() -> None:
                target.values()[...] = raw.values()

            elements = wide.bytes_per_cpe // wide.dtype.itemsize
            cycles = cycles_to_convert(cpe=self.core_group.cpe, elements=elements)
            self.core_group.compute(f"convert {self.name}", cycles=cycles, reads=[raw], writes=[wide], run=run)
            self.current = wide
        self.numbers = self.arrange(self.current.values()) if self.core_group.numerics else None

    def matrix(self, *, size: tuple[int, int], take: Callable[[Array], Array]) -> Tile:
        """What ``take`` makes of the numbers, assembled, as a tile for the mesh GEMM of ``size`` per CPE."""
        assert self.current is not None
        return matrix_of(self.current, size=size, take=lambda: take(self.numbers) if self.numbers is not None else None)

    def free(self) -> None:
        self.core_group.free(*self.raw, *([self.wide] if self.wide is not None else []))


def matrix_of(
    tile: Tile, *, size: tuple[int, int], take: Callable[[], Array | None], dtype: np.dtype[np.floating] | None = None
) -> Tile:
    """A matrix, divided over the mesh's rows and columns, that lies in ``tile``'s buffer: another view of the same LDM.

    ``dtype``: what the micro-kernel computes with, where the buffer holds another precision that loads and stores
    convert (accumulators in fp32).
    """
    data = take() if tile.numerics and tile.state == "ready" else None
    return Tile(
        name=tile.name,
        size=size,
        dtype=tile.dtype if dtype is None else dtype,
        split=MATRIX,
        mesh=tile.mesh,
        numerics=tile.numerics,
        state=tile.state,
        data=data,
    )
