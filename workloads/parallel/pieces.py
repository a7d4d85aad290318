"""What a rank holds of an array that a tensor group divides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.graph import Variables
from nnlib.layers.layer import Array

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""First place and length of each run of places along an axis; every rank has an equal part of every run.

Channels are one run; after flattening there is one for each pixel.
"""


@dataclass(frozen=True)
class Piece:
    """A rank's part of the network's variable ``full`` along ``axis``; without an axis all of it.

    Where ranks do not divide a single run, every part is as long as the first; what is missing at the end is zeros.
    """

    full: str
    axis: int | None = None
    runs: Runs = ()

    def of(self, array: Array, *, ways: int, rank: int) -> Array:
        """The part that ``rank`` of ``ways`` ranks holds: a copy."""
        if self.axis is None:
            return array.copy()
        found: Array = np.take(array, places(self.runs, ways=ways, rank=rank), axis=self.axis)
        missing = part_length(self.runs, ways=ways) - found.shape[self.axis]
        if missing:
            wide = [(0, 0)] * found.ndim
            wide[self.axis] = (0, missing)
            found = np.pad(found, wide)
        return found

    def put(self, target: Array, part: Array, *, ways: int, rank: int) -> None:
        """Write a rank's part where it belongs."""
        if self.axis is None:
            target[...] = part
        else:
            there = places(self.runs, ways=ways, rank=rank)
            np.moveaxis(target, self.axis, 0)[there] = np.moveaxis(part, self.axis, 0)[: len(there)]


def whole_run(length: int) -> Runs:
    """One run of so many places."""
    return ((0, length),)


def repeated(runs: Runs, *, length: int, count: int) -> Runs:
    """The runs of ``count`` stretches of ``length`` places one behind the other."""
    return tuple((first + number * length, size) for number in range(count) for first, size in runs)


def places(runs: Runs, *, ways: int, rank: int) -> NDArray[np.int64]:
    """The places along the axis that a rank has."""
    found = []
    for first, length in runs:
        part = -(-length // ways)
        found.append(np.arange(first + min(rank * part, length), first + min((rank + 1) * part, length)))
    return np.concatenate(found)


def part_length(runs: Runs, *, ways: int) -> int:
    """Places of a part, with those that are missing at the end."""
    return sum(-(-length // ways) for _, length in runs)


def cut(variables: Variables, pieces: Mapping[str, Piece], *, ways: int, rank: int) -> dict[str, Array]:
    """A rank's variables by its own names."""
    return {name: piece.of(variables[piece.full], ways=ways, rank=rank) for name, piece in pieces.items()}


def join(parts: Sequence[Mapping[str, Array]], pieces: Mapping[str, Piece], like: Variables) -> dict[str, Array]:
    """Whole arrays from the parts of all ranks, as far as they have them; what nobody divides is the first rank's."""
    found: dict[str, Any] = {}
    for rank, part in enumerate(parts):
        for name, array in part.items():
            piece = pieces[name]
            if piece.axis is None and rank:
                continue
            target = found.setdefault(piece.full, np.zeros_like(like[piece.full], dtype=array.dtype))
            piece.put(target, array, ways=len(parts), rank=rank)
    return found
