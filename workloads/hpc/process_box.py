"""A 3-D grid of points divided over a box of processes, and the messages between neighbours in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.hpc.process_grid import near_square

Ranks = NDArray[np.int64]
Box = tuple[int, int, int]


@dataclass(frozen=True)
class ProcessBox:
    """``counts`` processes along z, y and x; consecutive ranks are neighbours in x."""

    counts: Box

    @property
    def processes(self) -> int:
        z, y, x = self.counts
        return z * y * x

    def neighbours(self, axis: int, step: int) -> tuple[Ranks, Ranks]:
        """Ranks that have a neighbour ``step`` (1 or -1) along an axis, and those neighbours."""
        numbers = np.arange(self.processes).reshape(self.counts)
        source = np.moveaxis(numbers, axis, 0)
        target = source[1:] if step > 0 else source[:-1]
        source = source[:-1] if step > 0 else source[1:]
        return source.ravel(), target.ravel()


def near_cube(processes: int) -> ProcessBox:
    """The box with the least surface that has so many processes."""
    best = (processes, 1, 1)
    for z in range(1, round(processes ** (1 / 3)) + 1):
        if processes % z:
            continue
        found = (z, *near_square(processes // z))
        if sum(found) < sum(best):
            best = found
    return ProcessBox(best)
