"""The numbers that a DMA transfer moves, for all CPEs at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.chip.dma import Integers
from sim.chip.memory import Array


def load_region(*, target: Array, source: Array, start: Sequence[int]) -> None:
    """Copy the box of ``source`` at ``start`` into ``target``; zeros where the box leaves the source."""
    inside, outside = _overlap(source.shape, target.shape, start)
    if any(part.stop - part.start != length for part, length in zip(inside, target.shape, strict=True)):
        target[...] = 0
    target[inside] = source[outside]


def store_region(*, target: Array, source: Array, start: Sequence[int]) -> None:
    """Copy ``source`` to the box of ``target`` at ``start``; what leaves the target is dropped."""
    inside, outside = _overlap(target.shape, source.shape, start)
    target[outside] = source[inside]


def load_part(*, target: Array, source: Array, starts: Integers) -> None:
    """Copy each CPE's own box; ``target`` has shape (CPEs, *size), ``starts`` (CPEs, axes)."""
    index, valid = _indices(source.shape, target.shape[1:], starts)
    target[...] = source[index]
    if valid is not None:
        target[~np.broadcast_to(valid, target.shape)] = 0


def store_part(*, target: Array, source: Array, starts: Integers) -> None:
    """Copy each CPE's own box back; overlapping boxes are written in the order of the CPEs."""
    index, valid = _indices(target.shape, source.shape[1:], starts)
    if valid is None:
        target[index] = source
        return
    for cpe, start in enumerate(starts):
        store_region(target=target, source=source[cpe], start=[int(at) for at in start])


def _overlap(
    array: Sequence[int], box: Sequence[int], start: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of the part common to an array and a box at ``start``: within the box, within the array."""
    inside, outside = [], []
    for length, size, at in zip(array, box, start, strict=True):
        low, high = max(at, 0), max(min(at + size, length), max(at, 0))
        inside.append(slice(low - at, high - at) if low < high else slice(0, 0))
        outside.append(slice(low, high))
    return tuple(inside), tuple(outside)


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
