"""The same bytes of memory under another shape."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from sim.chip.memory import MemoryArray, Shape


def seen_as(array: MemoryArray, shape: Shape) -> MemoryArray:
    """The same bytes under another shape, which only merges axes that follow one another in memory, or splits them.

    Raises ValueError where axes would have to be merged that do not.
    """
    if array.shape == shape:
        return array
    strides, merged = array.strides, list[tuple[int, int]]()
    for length, stride in zip(array.shape, strides, strict=True):
        if length == 1:
            continue
        if merged and merged[-1][1] == length * stride:
            merged[-1] = merged[-1][0] * length, stride
        else:
            merged.append((length, stride))
    pitch: list[int] = []
    left = list(merged)
    for length in shape:
        if length == 1:
            pitch.append(left[0][0] * left[0][1] if left else array.dtype.itemsize)
            continue
        if not left or left[0][0] % length:
            raise ValueError(f"{array.name}: cannot see shape {array.shape} as {shape}")
        rest = left[0][0] // length
        pitch.append(rest * left[0][1])
        left = [(rest, left[0][1]), *left[1:]] if rest > 1 else left[1:]
    if left or prod(shape) != prod(array.shape):
        raise ValueError(f"{array.name}: cannot see shape {array.shape} as {shape}")
    data = None if array.data is None else array.data.view()
    if data is not None:
        data.shape = shape  # raises where it would have to copy
    return replace(array, shape=shape, pitch=tuple(pitch), data=data)
