"""Matrices in the LDM with one buffer each: loaded, waited for, and turned into fp64 where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.precision import DTYPES
from sim.chip.memory import MemoryArray
from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

FP64: Final = DTYPES["fp64"]
MATRIX: Final = Split(rows=0, columns=1)
SWAPPED: Final = Split(rows=1, columns=0)
LAST_TWO: Final = Split(rows=2, columns=3)
LAST_TWO_SWAPPED: Final = Split(rows=3, columns=2)


class Matrix:
    """The last two axes of ``array`` at some place of the first two, divided over the mesh.

    ``swapped``: the mesh's columns divide the first of them. ``turned``: it is multiplied transposed, and so divided.
    The fp64 numbers spread from the fp32 ones over the rest of the same buffer, which has room for them.
    """

    def __init__(
        self, core_group: CoreGroup, name: str, array: MemoryArray, *, swapped: bool = False, turned: bool = False
    ) -> None:
        self.core_group, self.name, self.array, self.swapped, self.turned = core_group, name, array, swapped, turned
        rows, columns = core_group.mesh
        across, along = (columns, rows) if swapped or turned else (rows, columns)
        size = (1, 1, -(-array.shape[2] // across), -(-array.shape[3] // along))
        split = LAST_TWO_SWAPPED if swapped or turned else LAST_TWO
        self.came = core_group.alloc(name, size=size, dtype=array.dtype, split=split)
        self.converts = array.dtype != FP64
        self.room = core_group.alloc(f"{name} room", size=size, dtype=array.dtype) if self.converts else None
        shape = size[:1:-1] if turned else size[2:]
        self.wide = _within(core_group, f"{name} fp64", shape, FP64, SWAPPED if swapped else MATRIX)

    def load(self, place: tuple[int, int]) -> None:
        """Get the matrix at ``place``, and convert it."""
        group = self.core_group
        group.wait(group.get(self.came, self.array, (*place, 0, 0)))

        def run() -> None:
            came = self.came.values()[0, 0]
            self.wide.data = (came.T if self.turned else came).astype(FP64)

        cpe, elements = group.cpe, int(np.prod(self.wide.size))
        cycles = 0.0
        if self.converts:
            cycles = conversion_cycles(cpe=cpe, elements=elements)
        elif self.turned:
            cycles = stream_cycles(cpe=cpe, body=Body(loads=1, stores=1), elements=elements)
        group.compute(f"convert {self.name}", cycles=cycles, reads=[self.came], writes=[self.wide], run=run)

    def free(self) -> None:
        self.core_group.free(self.came, *(() if self.room is None else (self.room,)))


class Sums:
    """A matrix of sums in fp64 that ends at some place of ``array``."""

    def __init__(self, core_group: CoreGroup, name: str, array: MemoryArray) -> None:
        self.core_group, self.name, self.array = core_group, name, array
        rows, columns = core_group.mesh
        size = (-(-array.shape[2] // rows), -(-array.shape[3] // columns))
        self.tile = core_group.alloc(name, size=size, dtype=FP64, split=MATRIX)
        self.goes = _within(core_group, f"{name} to put", (1, 1, *size), array.dtype, LAST_TWO)

    def clear(self) -> None:
        """Set the sums to zero."""

        def run() -> None:
            self.tile.values()[...] = 0

        cpe, elements = self.core_group.cpe, int(np.prod(self.tile.size))
        cycles = stream_cycles(cpe=cpe, body=Body(stores=1), elements=elements)
        self.core_group.compute(f"clear {self.name}", cycles=cycles, writes=[self.tile], run=run)

    def store(self, place: tuple[int, int]) -> None:
        """Convert the sums back and put them at ``place``."""
        group = self.core_group

        def run() -> None:
            self.goes.data = self.tile.values().astype(self.array.dtype)[None, None]

        elements = int(np.prod(self.tile.size))
        converts = self.array.dtype != FP64
        cycles = conversion_cycles(cpe=group.cpe, elements=elements) if converts else 0
        group.compute(f"convert {self.name} back", cycles=cycles, reads=[self.tile], writes=[self.goes], run=run)
        group.wait(group.put(self.goes, self.array, (*place, 0, 0)))

    def free(self) -> None:
        self.core_group.free(self.tile)


def _within(
    core_group: CoreGroup, name: str, size: tuple[int, ...], dtype: np.dtype[np.floating], split: Split
) -> Tile:
    """A buffer inside another one, which takes no LDM of its own."""
    return Tile(name=name, size=size, dtype=dtype, split=split, mesh=core_group.mesh, numerics=core_group.numerics)
