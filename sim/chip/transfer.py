"""A DMA transfer of all CPEs: the handle that a program waits for, and the numbers that it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.chip.dma import Direction, Integers
from sim.chip.dma_modes import DmaMode
from sim.chip.memory import Array, MemoryArray
from sim.chip.tile import Tile


@dataclass(eq=False)
class Transfer:
    """A transfer under way, to be waited for."""

    number: int
    direction: Direction
    tile: Tile
    array: MemoryArray
    start: tuple[int, ...] | Integers
    mode: DmaMode = "PE"
    outgoing: Array | None = None
    done: bool = False

    @property
    def label(self) -> str:
        by = "" if self.mode == "PE" else f" {self.mode}"
        return f"{self.direction}{by} {self.array.name} ({self.tile.name})"

    def check(self) -> None:
        """Raise ValueError unless buffer and array go together."""
        tile, array = self.tile, self.array
        if tile.dtype != array.dtype or len(tile.size) != len(array.shape):
            raise ValueError(
                f"{self.direction} between buffer {tile.name!r} {tile.dtype}{tile.size} and array "
                f"{array.name!r} {array.dtype}{array.shape}: dtype and number of axes must agree"
            )

    def complete(self, *, numerics: bool) -> None:
        """The data arrive in the buffer, or in memory."""
        self.tile.state = "ready" if self.direction == "get" else "fresh"
        if not numerics:
            return
        memory = self.array.data
        assert memory is not None
        if self.direction == "get":
            arrived = self.tile.data = np.empty(self.tile.shape, dtype=self.tile.number_dtype)
            if isinstance(self.start, tuple):
                load_region(target=arrived, source=memory, start=self.start)
            else:
                load_part(target=arrived, source=memory, starts=self.start)
            return
        assert self.outgoing is not None
        if isinstance(self.start, tuple):
            store_region(target=memory, source=self.outgoing, start=self.start)
        else:
            store_part(target=memory, source=self.outgoing, starts=self.start)
        self.outgoing = None


def load_region(*, target: Array, source: Array, start: Sequence[int]) -> None:
    """Copy the box of ``source`` at ``start`` into ``target``; zeros where the box leaves the source."""
    inside, outside, whole = _overlap(source.shape, target.shape, start)
    if whole:
        target[...] = source[outside]
        return
    target[...] = 0
    target[inside] = source[outside]


def store_region(*, target: Array, source: Array, start: Sequence[int]) -> None:
    """Copy ``source`` to the box of ``target`` at ``start``; what leaves the target is dropped."""
    inside, outside, _ = _overlap(target.shape, source.shape, start)
    target[outside] = source[inside]


def load_part(*, target: Array, source: Array, starts: Integers) -> None:
    """Copy each CPE's own box; ``target`` has shape (CPEs, *size), ``starts`` (CPEs, axes)."""
    if target.shape[1] == 1:
        used, regions = _regions(starts.tobytes(), starts.shape, source.shape[0])
        if regions is not None:
            target[used:] = 0
            for first, start in enumerate(regions):
                load_region(target=target[first : used : len(regions), 0], source=source, start=start)
            return
    index, valid = _indices(source.shape, target.shape[1:], starts)
    target[...] = source[index]
    if valid is not None:
        target[~np.broadcast_to(valid, target.shape)] = 0


def store_part(*, target: Array, source: Array, starts: Integers) -> None:
    """Copy each CPE's own box back; overlapping boxes are written in the order of the CPEs."""
    size = source.shape[1:]
    if size[0] == 1:
        used, regions = _regions(starts.tobytes(), starts.shape, target.shape[0])
        if regions is not None:
            for first, start in enumerate(regions):
                store_region(target=target, source=source[first : used : len(regions), 0], start=start)
            return
    meets = ((starts < target.shape) & (starts + size > 0)).all(axis=1)
    for cpe in np.flatnonzero(meets):
        store_region(target=target, source=source[cpe], start=starts[cpe].tolist())


@lru_cache(maxsize=256)
def _regions(starts: bytes, shape: tuple[int, int], length: int) -> tuple[int, tuple[tuple[int, ...], ...] | None]:
    """How many CPEs have a box, one long on the first axis, and where the first boxes begin if the others repeat them.

    With r starts, CPE c has box c mod r, moved c // r along the first axis. None if the boxes lie otherwise, or if a
    CPE without a box (its start is outside the first axis) comes before one that has one.
    """
    places = np.frombuffer(starts, dtype=np.int64).reshape(shape)
    has = (places[:, 0] >= 0) & (places[:, 0] < length)
    used = int(has.sum())
    if not has[:used].all():
        return used, None
    repeat = int((places[:used, 0] == places[0, 0]).sum())
    if repeat == 0:
        return used, ()
    expected = places[np.arange(used) % repeat]
    expected[:, 0] += np.arange(used) // repeat
    if not np.array_equal(places[:used], expected):
        return used, None
    return used, tuple(tuple(start) for start in places[:repeat].tolist())


def _overlap(
    array: Sequence[int], box: Sequence[int], start: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...], bool]:
    """Slices of the part common to an array and a box at ``start``: in the box, in the array; is it the whole box?"""
    inside, outside, whole = [], [], True
    for length, size, at in zip(array, box, start, strict=True):
        if at >= 0 and at + size <= length:
            inside.append(slice(None))
            outside.append(slice(at, at + size))
            continue
        whole = False
        low = max(at, 0)
        high = max(low, min(at + size, length))
        inside.append(slice(low - at, high - at))
        outside.append(slice(low, high))
    return tuple(inside), tuple(outside), whole


def _indices(
    array: Sequence[int], size: Sequence[int], starts: Integers
) -> tuple[tuple[Integers | slice, ...], np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None]:
    """Index arrays of all boxes (clipped) and where they are inside; None if they all are."""
    axes = len(size)
    index: list[Integers | slice] = []
    valid: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None = None
    trailing = axes
    while trailing > 1 and size[trailing - 1] == array[trailing - 1] and not starts[:, trailing - 1].any():
        trailing -= 1
    for axis in range(trailing):
        shape = [len(starts)] + [1] * axes
        shape[axis + 1] = size[axis]
        place = (starts[:, axis, None] + np.arange(size[axis])).reshape(shape[: trailing + 1])
        ok = (place >= 0) & (place < array[axis])
        if not ok.all():
            mask = ok.reshape(shape)
            valid = mask if valid is None else valid & mask
        index.append(np.clip(place, 0, array[axis] - 1))
    index.extend(slice(None) for _ in range(trailing, axes))
    return tuple(index), valid
