"""A tile: one LDM buffer of every CPE, held as one NumPy array so that numerics run at BLAS speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np

from sim.chip.dma import Integers
from sim.chip.errors import BufferHazard, UnalignedAccess
from sim.chip.memory import Array

State = Literal["fresh", "ready", "filling", "draining"]


@dataclass(frozen=True)
class Split:
    """Which tile axis is divided over the mesh's rows and columns.

    None: not divided, all CPEs of that direction hold equal parts. The same axis twice: divided over all CPEs,
    row-major.
    """

    rows: int | None = None
    columns: int | None = None


@dataclass(eq=False)
class Tile:
    """``size`` elements per CPE of a buffer ``name``, and the whole group's numbers in ``data``.

    With a ``split``, ``data`` is the assembled array: axis a has ``size[a]`` times the CPEs along it. Without one
    (parts at unrelated places), ``data`` has shape (CPEs, *size). Scratch, where no number was written yet, has no
    ``data`` until someone looks.

    ``arithmetic``: what floating-point numbers are computed with between a get and a put, if not with ``dtype``.
    """

    name: str
    size: tuple[int, ...]
    dtype: np.dtype[np.floating]
    split: Split | None
    mesh: tuple[int, int]
    numerics: bool = True
    state: State = "fresh"
    data: Array | None = field(default=None, repr=False)
    arithmetic: np.dtype[np.floating] | None = None
    shape: tuple[int, ...] = field(init=False)
    """Shape of ``data``."""

    @property
    def bytes_per_cpe(self) -> int:
        return prod(self.size) * self.dtype.itemsize

    @property
    def number_dtype(self) -> np.dtype[np.floating]:
        """What ``data`` holds its numbers in: integers in float64, which is exact below 2^53 and has a NaN."""
        if self.dtype.kind == "i":
            return np.dtype(np.float64)
        return self.dtype if self.arithmetic is None else self.arithmetic

    def __post_init__(self) -> None:
        if self.split is None:
            self.shape = (self.mesh[0] * self.mesh[1], *self.size)
            return
        shape = list(self.size)
        if self.split.rows is not None:
            shape[self.split.rows] *= self.mesh[0]
        if self.split.columns is not None:
            shape[self.split.columns] *= self.mesh[1]
        self.shape = tuple(shape)

    def starts(self, start: Sequence[int]) -> Integers:
        """Each CPE's start, shape (CPEs, axes), of an assembled box at ``start``; only of a split tile."""
        rows, columns = self.mesh
        cpe = np.arange(rows * columns)
        starts = np.tile(np.asarray(start, dtype=np.int64), (rows * columns, 1))
        split = self.split
        assert split is not None
        if split.rows is not None and split.rows == split.columns:
            starts[:, split.rows] += cpe * self.size[split.rows]
            return starts
        if split.rows is not None:
            starts[:, split.rows] += cpe // columns * self.size[split.rows]
        if split.columns is not None:
            starts[:, split.columns] += cpe % columns * self.size[split.columns]
        return starts

    def scratch(self) -> None:
        """Forget the numbers: what was there must not be read, and reads as NaN."""
        self.data = None

    def check_readable(self, *, by: str) -> None:
        """Raise BufferHazard unless the buffer holds data that have arrived."""
        if self.state != "ready":
            why = {
                "fresh": "was never written (or its put has taken the data away)",
                "filling": "is still being filled: wait for its get first",
                "draining": "is being put: wait for that first",
            }[self.state]
            raise BufferHazard(f"{by} reads LDM buffer {self.name!r}, which {why}")

    def check_writable(self, *, by: str) -> None:
        """Raise BufferHazard while a transfer still uses the buffer."""
        if self.state in ("filling", "draining"):
            transfer = "get" if self.state == "filling" else "put"
            raise BufferHazard(f"{by} writes LDM buffer {self.name!r} while a {transfer} uses it: wait for that first")

    def check_rows(self, *, by: str, wide: int) -> None:
        """Raise UnalignedAccess unless all rows begin at a multiple of a vector of ``wide`` bytes; buffers do."""
        row = self.size[-1] * self.dtype.itemsize
        if row % wide and self.bytes_per_cpe > row:
            raise UnalignedAccess(
                f"{by} loads vectors of {wide} B from rows of {row} B of LDM buffer {self.name!r} {self.size}: its "
                f"second row begins at byte {row}, no multiple of {wide} B; pad the rows"
            )

    def values(self) -> Array:
        """The numbers; only in numeric runs."""
        if self.data is None:
            if not self.numerics:
                raise ValueError(f"LDM buffer {self.name!r} holds no numbers in a timing-only run")
            self.data = np.empty(self.shape, dtype=self.number_dtype)
            self.data.fill(np.nan)
        return self.data
