"""Tiles of the batch-size-aware plan in two precisions: fp32 in memory, multiplied as fp64 (TACO18 §3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlib.kernels.implicit.image_operand import cycles_to_convert, matrix_of
from nnlib.kernels.implicit.implicit_batch_plan import FP64
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

MATRIX = Split(rows=0, columns=1)
"""A matrix over the mesh."""
TURNED = Split(rows=1, columns=0)
"""Its transpose, each CPE's part where that of the matrix would be."""


def convert(core_group: CoreGroup, raw: Tile, wide: Tile) -> None:
    """Copy ``raw`` into ``wide``, each CPE its own part."""

    def run() -> None:
        wide.values()[...] = raw.values()

    cycles = cycles_to_convert(cpe=core_group.cpe, elements=wide.bytes_per_cpe // wide.dtype.itemsize)
    core_group.compute(f"convert {raw.name}", cycles=cycles, reads=[raw], writes=[wide], run=run)


def as_wide(sums: Tile) -> Tile:
    """The same buffer for the fp64 micro-kernel, whose loads and stores of accumulators convert."""
    return matrix_of(sums, size=(sums.size[0], sums.size[1]), take=sums.values, dtype=FP64)
