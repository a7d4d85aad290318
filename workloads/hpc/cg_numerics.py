"""The numbers of conjugate gradients on virtual processes, which learn of one another by messages alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.sparse.sparse_rows import (
    CENTRE,
    COLOURS,
    POINTS,
    PassKind,
    SparseRows,
    colour_places,
    neighbours,
    parities,
)
from sim.machine.spec import ProcessorSpec
from sim.network.schedule import Schedule, execute
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.numerics import Floats, Numerics, compute
from workloads.hpc.process_box import Box, ProcessBox

DIAGONAL = 26.0
NEIGHBOUR = -1.0
"""The benchmark's coefficients."""


@dataclass(eq=False)
class _Level:
    """A process's part of a level: x with its layer of neighbours, and by colour the matrix, b and what comes out."""

    shape: Box
    x: Floats
    coefficients: list[Floats]
    columns: list[NDArray[np.int32]]
    places: list[NDArray[np.int64]]
    b: list[Floats]
    out: list[Floats]

    @classmethod
    def of(cls, shape: Box) -> _Level:
        z, y, x = shape
        columns = [neighbours(shape, colour) for colour in range(COLOURS)]
        row = np.full(POINTS, NEIGHBOUR)
        row[CENTRE] = DIAGONAL
        return cls(
            shape=shape,
            x=np.zeros((z + 2, y + 2, x + 2)),
            coefficients=[np.tile(row, (len(each), 1)) for each in columns],
            columns=columns,
            places=[colour_places(shape, colour) for colour in range(COLOURS)],
            b=[np.zeros(len(each)) for each in columns],
            out=[np.zeros(len(each)) for each in columns],
        )

    def values(self) -> list[Floats]:
        """x by colour."""
        return [self.x.reshape(-1)[place] for place in self.places]


@dataclass(eq=False)
class CgNumerics:
    """The system and all vectors. ``right``: b over the whole grid (z, y, x).

    ``sums``: the schedule that adds up over all processes. ``numerics``: rows by one product, or in the tiles.
    """

    workload: HpcgWorkload
    box: ProcessBox
    sums: Schedule
    processor: ProcessorSpec
    right: Floats
    numerics: Numerics = "layer"
    levels: list[list[_Level]] = field(init=False)
    sent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.levels = [
            [_Level.of(self.workload.shape(level)) for _ in range(self.box.processes)]
            for level in range(self.workload.levels)
        ]
        fine = self.levels[0]
        self.p = [np.zeros_like(each.x) for each in fine]
        self.r: list[list[Floats]] = [[] for _ in fine]
        self.x = [[np.zeros_like(part) for part in each.b] for each in fine]
        self.product: list[list[Floats]] = []
        self.rz = self.norm = 0.0
        self.left = 1.0

    def begin(self) -> None:
        """x = 0, so the residual is b."""
        for rank, level in enumerate(self.levels[0]):
            mine = np.zeros_like(level.x)
            mine[1:-1, 1:-1, 1:-1] = self.right[self._part(rank)]
            self.r[rank] = [mine.reshape(-1)[place] for place in level.places]
        self.norm = self.dot(self.r, self.r) ** 0.5

    def direction(self, *, first: bool) -> None:
        """p = z + (r·z / the last one) p."""
        z = [level.values() for level in self.levels[0]]
        before, self.rz = self.rz, self.dot(self.r, z)
        factor = 0.0 if first else self.rz / before
        for p, level in zip(self.p, self.levels[0], strict=True):
            p[1:-1, 1:-1, 1:-1] = level.x[1:-1, 1:-1, 1:-1] + factor * p[1:-1, 1:-1, 1:-1]

    def multiply(self) -> None:
        """A·p."""
        self._exchange(self.p)
        self.product = [
            [self._rows("product", 0, rank, colour, x=p) for colour in range(COLOURS)] for rank, p in enumerate(self.p)
        ]

    def advance(self) -> float:
        """x and the residual go along p; how much of b's norm is left."""
        along = [
            [p.reshape(-1)[place] for place in level.places] for p, level in zip(self.p, self.levels[0], strict=True)
        ]
        step = self.rz / self.dot(along, self.product)
        for rank in range(self.box.processes):
            for colour in range(COLOURS):
                self.x[rank][colour] += step * along[rank][colour]
                self.r[rank][colour] = self.r[rank][colour] - step * self.product[rank][colour]
        self.left = float(self.dot(self.r, self.r) ** 0.5 / self.norm)
        return self.left

    def clear(self, level: int) -> None:
        """z = 0; on the finest level b is the residual."""
        for rank, part in enumerate(self.levels[level]):
            part.x[...] = 0.0
            if level == 0:
                part.b = [each.copy() for each in self.r[rank]]

    def smooth(self, level: int, colour: int) -> None:
        """A colour's rows are solved, and the neighbours told."""
        for rank, part in enumerate(self.levels[level]):
            self._rows("smooth", level, rank, colour, x=part.x)
        self._tell(level, colour)

    def restrict(self, level: int) -> None:
        """The residual of every eighth point is the next level's b."""
        for rank, (fine, coarse) in enumerate(zip(self.levels[level], self.levels[level + 1], strict=True)):
            residual = [self._rows("residual", level, rank, colour, x=fine.x) for colour in range(COLOURS)]
            padded = np.zeros_like(coarse.x)
            padded[1:-1, 1:-1, 1:-1] = residual[0].reshape(coarse.shape)
            coarse.b = [padded.reshape(-1)[place] for place in coarse.places]

    def prolong(self, level: int) -> None:
        """Every eighth point gets the next level's correction."""
        for fine, coarse in zip(self.levels[level], self.levels[level + 1], strict=True):
            fine.x.reshape(-1)[fine.places[0]] += coarse.x[1:-1, 1:-1, 1:-1].ravel()
        self._tell(level, 0)

    def solution(self) -> Floats:
        """x over the whole grid."""
        whole = np.zeros(self.right.shape)
        for rank, level in enumerate(self.levels[0]):
            mine = np.zeros_like(level.x)
            for colour, place in enumerate(level.places):
                mine.reshape(-1)[place] = self.x[rank][colour]
            whole[self._part(rank)] = mine[1:-1, 1:-1, 1:-1]
        return whole

    def dot(self, one: Sequence[Sequence[Floats]], other: Sequence[Sequence[Floats]]) -> float:
        """Of two vectors, added up over the processes in the order of the collective."""
        mine = [
            [sum(float(a @ b) for a, b in zip(left, right, strict=True))]
            for left, right in zip(one, other, strict=True)
        ]
        return float(execute(self.sums, np.array(mine))[0, 0])

    def _rows(self, kind: PassKind, level: int, rank: int, colour: int, *, x: Floats) -> Floats:
        """A pass over a colour's rows of a process, as its kernel does it."""
        part = self.levels[level][rank]
        kernel = SparseRows(kind, part.shape, colour)
        arrays: dict[str, NDArray[Any]] = {
            "coefficients": part.coefficients[colour],
            "columns": part.columns[colour],
            "x": x,
            "b": part.b[colour],
            "out": np.empty(kernel.rows),
        }
        arrays = {parameter.name: arrays[parameter.name] for parameter in kernel.parameters()}
        compute(kernel, arrays, processor=self.processor, numerics=self.numerics)
        return arrays.get("out", part.b[colour])

    def _part(self, rank: int) -> tuple[slice, ...]:
        """Where a process's points are in the whole grid."""
        places = np.unravel_index(rank, self.box.counts)
        return tuple(
            slice(int(place) * length, (int(place) + 1) * length)
            for place, length in zip(places, self.workload.points, strict=True)
        )

    def _tell(self, level: int, colour: int) -> None:
        """A colour's points to the neighbours that they touch: those on the low faces, or on the high ones."""
        near = parities(colour)
        arrays = [part.x for part in self.levels[level]]
        for axis in (2, 1, 0):
            self._send(arrays, axis, -1 if near[axis] == 0 else 1, points=near)

    def _exchange(self, arrays: Sequence[Floats]) -> None:
        """All points of the faces, both ways."""
        for axis in (2, 1, 0):
            for step in (-1, 1):
                self._send(arrays, axis, step)

    def _send(self, arrays: Sequence[Floats], axis: int, step: int, *, points: Box | None = None) -> None:
        """One face along an axis, with what the axes before it brought; of a colour only its points."""
        source, target = self.box.neighbours(axis, step)
        leaving, arriving = [], []
        for other, length in enumerate(arrays[0].shape):
            # x first, then y, then z: whole with the layer for axes that have been exchanged
            done = other > axis
            each = slice(None) if done else slice(1, length - 1)
            if points is not None:
                # a colour on low faces came into the layer behind the high ones, and the other way round
                first = points[other]
                each = slice(1 - first if done else 1 + first, None if done else length - 1, 2)
            leaving.append(each)
            arriving.append(each)
        leaving[axis] = slice(1, 2) if step < 0 else slice(-2, -1)
        arriving[axis] = slice(-1, None) if step < 0 else slice(0, 1)
        faces = [arrays[int(rank)][tuple(leaving)].copy() for rank in source]
        for face, rank in zip(faces, target, strict=True):
            self.sent["messages"] += 1
            self.sent["bytes"] += face.nbytes
            arrays[int(rank)][tuple(arriving)] = face
