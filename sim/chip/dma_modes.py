"""DMA requests that serve more than one CPE: who asks, for which box, and who has to meet (R-swdoc).

``PE``: each CPE for itself. ``BCAST``: one CPE asks, all get the same. ``ROW``: one CPE of each row asks for what the
row's CPEs share out. ``BROW``: one row's share, the same for all rows. ``RANK``: one CPE asks for what all share out.
Lines are touched once for each request. Whoever asks writes into the others' LDM, so those have to be ready before and
to hear of the end after: that is a meeting of the CPEs concerned, as programs for the machine do it by hand.
Nothing is published of these modes' speed: lines cost what they always cost, and a CPE's channel carries its own share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from sim.chip.dma import Direction, Integers
from sim.chip.errors import ModeNotAllowed
from sim.chip.memory import MemoryArray
from sim.chip.tile import Tile

DmaMode: TypeAlias = Literal["PE", "BCAST", "ROW", "BROW", "RANK"]
NO_PUT: Final = frozenset({"BCAST", "BROW"})
OUTSIDE: Final = 1 << 40
"""A start outside every array: that CPE asks for nothing."""


@dataclass(frozen=True, eq=False)
class Collective:
    """What the asking CPEs ask for: ``size`` elements from ``starts`` (CPEs, axes), ``sharing`` CPEs sharing it out."""

    size: tuple[int, ...]
    starts: Integers
    sharing: int


def collective(*, mode: DmaMode, tile: Tile, start: tuple[int, ...]) -> Collective:
    """The requests of a mode other than PE for the assembled box of ``tile`` at ``start``.

    Raises ModeNotAllowed if the tile is not divided as the mode divides.
    """
    rows, columns = tile.mesh
    split = tile.split
    size = list(tile.size)
    starts = np.full((rows * columns, len(size)), OUTSIDE, dtype=np.int64)
    by_rows, by_columns = (None, None) if split is None else (split.rows, split.columns)
    suits = {
        "BCAST": split is not None and by_rows is None and by_columns is None,
        "ROW": by_columns is not None and by_rows != by_columns,
        "BROW": by_columns is not None and by_rows is None,
        "RANK": by_rows is not None and by_columns is not None,
    }[mode]
    if not suits:
        raise ModeNotAllowed(
            f"DMA mode {mode} does not divide LDM buffer {tile.name!r} {tile.size} as its split {split} says"
        )
    if mode == "ROW":
        assert by_columns is not None
        size[by_columns] *= columns
        for row in range(rows):
            # on the diagonal, so that all data buses take part
            asking = starts[row * columns + row % columns]
            asking[:] = start
            if by_rows is not None:
                asking[by_rows] += row * tile.size[by_rows]
        return Collective(tuple(size), starts, columns)
    starts[0] = start
    if mode == "BCAST":
        return Collective(tuple(size), starts, 1)
    if mode == "BROW":
        assert by_columns is not None
        size[by_columns] *= columns
        return Collective(tuple(size), starts, columns)
    return Collective(tile.shape, starts, rows * columns)


def check_mode(*, mode: DmaMode, direction: Direction, tile: Tile, array: MemoryArray, kernel: str) -> None:
    """Raise ModeNotAllowed for a put in a mode that only gets have."""
    if direction == "put" and mode in NO_PUT:
        raise ModeNotAllowed(
            f"{kernel}CPE (0, 0) puts LDM buffer {tile.name!r} {tile.size} ({tile.bytes_per_cpe} B) to array "
            f"{array.name!r} {array.shape} in DMA mode {mode}: that mode is for gets only, use PE, ROW or RANK"
        )
