"""Matrices inside the pixel-major arrays: a pixel's channels of one group, a tap's weights of one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.chip.memory import MemoryArray


def group_matrix(array: MemoryArray, place: Sequence[int], *, group: int, rows: int) -> MemoryArray:
    """The matrix at ``place`` on the leading axes, of its rows those of a group of ``rows``; shares the numbers.

    A view of its own ends where the group ends, so that what a tile reaches beyond is zero and not the next group's.
    """
    strides, first = array.strides, group * rows
    offset = sum(at * stride for at, stride in zip(place, strides, strict=False)) + first * strides[len(place)]
    data = None if array.data is None else array.data[tuple(place)][first : first + rows]
    return replace(array, shape=(rows, array.shape[-1]), address=array.address + offset, data=data)
