"""Linear maps along one axis with few inputs to an output: resizing, means of uneven bins, mirrored borders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.pool_axis import PoolAxis

Array = NDArray[np.floating]
Integers = NDArray[np.int64]

CHUNK_BYTES = 1 << 19
"""Bytes of outputs made at a time: what stays in a host's cache until all inputs are in."""


@dataclass(frozen=True, eq=False)
class AxisMap:
    """Output o of an axis is the sum over t of ``weights[o, t]`` times input ``places[o, t]`` of ``length``."""

    length: int
    places: Integers
    weights: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Outputs."""
        return len(self.places)

    @property
    def taps(self) -> int:
        """Inputs of an output, at most."""
        return int(self.places.shape[1])

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Outputs × inputs."""
        matrix = np.zeros((self.count, self.length))
        np.add.at(matrix, (np.arange(self.count)[:, None], self.places), self.weights)
        return matrix

    @cached_property
    def transposed(self) -> AxisMap:
        """The adjoint: from a gradient by the outputs to that by the inputs."""
        output, tap = np.nonzero(self.weights)
        places = self.places[output, tap]
        order = np.argsort(places, kind="stable")
        counts = np.bincount(places, minlength=self.length)
        widest = max(int(counts.max(initial=0)), 1)
        begin = np.cumsum(counts) - counts
        number = np.arange(widest)
        used = number < counts[:, None]
        picked = order[np.minimum(begin[:, None] + np.where(used, number, 0), max(len(order) - 1, 0))]
        return AxisMap(
            length=self.count, places=output[picked], weights=np.where(used, self.weights[output, tap][picked], 0.0)
        )

    def apply(self, x: Array, axis: int) -> Array:
        """The outputs along ``axis`` of ``x``, in the memory order of ``x``."""
        order = np.argsort([-stride for stride in x.strides], kind="stable")
        source = x.transpose(order)
        place = int(np.flatnonzero(order == axis)[0])
        y: Array = np.empty((*source.shape[:place], self.count, *source.shape[place + 1 :]), dtype=x.dtype)
        if place == 0:
            self._fill(source, 0, y)
        else:
            size = max(1, CHUNK_BYTES * len(y) // max(y.nbytes, 1))
            for first in range(0, len(y), size):
                self._fill(source[first : first + size], place, y[first : first + size])
        return y.transpose(np.argsort(order))

    def _fill(self, x: Array, axis: int, y: Array) -> None:
        behind = (1,) * (x.ndim - axis - 1)
        part = None
        for number, (places, weights) in enumerate(zip(self.places.T, self.weights.T, strict=True)):
            target = y
            if number:
                target = part = np.empty_like(y) if part is None else part
            np.take(x, places, axis=axis, out=target, mode="clip")
            if not (weights == 1).all():
                target *= weights.astype(x.dtype).reshape(-1, *behind)
            if number:
                y += target


@lru_cache(maxsize=256)
def linear_map(length: int, size: int, *, align_corners: bool = False) -> AxisMap:
    """Linear interpolation of ``length`` pixels at ``size`` places (torch.nn.functional.interpolate).

    ``align_corners``: the centres of the outermost pixels stay where they are; else their outer edges.
    """
    places = np.arange(size)
    if align_corners:
        at = places * ((length - 1) / (size - 1) if size > 1 else 0.0)
    else:
        at = np.maximum((places + 0.5) * (length / size) - 0.5, 0)
    below = np.minimum(at.astype(np.int64), length - 1)
    above = np.minimum(below + 1, length - 1)
    part = at - below
    return AxisMap(length, np.stack([below, above], axis=1), np.stack([1 - part, part], axis=1))


@lru_cache(maxsize=256)
def nearest_map(length: int, size: int) -> AxisMap:
    """The pixel that ``size`` places lie on; scales are rounded to fp32 as in PyTorch."""
    scale = np.float32(length) / np.float32(size)
    at = np.floor(np.arange(size).astype(np.float32) * scale).astype(np.int64)
    return chosen(length, np.minimum(at, length - 1))


@lru_cache(maxsize=256)
def adaptive_map(length: int, size: int) -> AxisMap:
    """Means of ``size`` bins (:func:`bins`)."""
    first, end = bins(length, size)
    places = first[:, None] + np.arange((end - first).max())
    used = places < end[:, None]
    return AxisMap(length, np.where(used, places, first[:, None]), used / (end - first)[:, None])


@lru_cache(maxsize=256)
def average_map(pool: PoolAxis, *, padded: bool = True, divisor: int | None = None) -> AxisMap:
    """Means of windows, over the pixels of the padding too or not; ``divisor``: sums divided by that instead."""
    places = pool.pixels()
    used = (places >= 0) & (places < pool.length)
    sizes = pool.sizes(padded=padded) if divisor is None else np.full(pool.count, divisor)
    return AxisMap(pool.length, np.clip(places, 0, pool.length - 1), used / sizes[:, None])


@lru_cache(maxsize=256)
def mirrored_map(length: int, before: int, after: int) -> AxisMap:
    """``before`` and ``after`` pixels more, mirrored at the outermost. Raises ValueError if there are not as many."""
    if max(before, after) >= length:
        raise ValueError(f"{before} and {after} pixels cannot be mirrored from {length}: it has to be fewer")
    at = np.abs(np.arange(-before, length + after))
    return chosen(length, np.where(at < length, at, 2 * (length - 1) - at))


@lru_cache(maxsize=256)
def edge_map(length: int, before: int, after: int) -> AxisMap:
    """``before`` and ``after`` pixels more, equal to the outermost."""
    return chosen(length, np.clip(np.arange(-before, length + after), 0, length - 1))


def chosen(length: int, places: Integers) -> AxisMap:
    """The inputs at ``places``."""
    return AxisMap(length, places[:, None], np.ones((len(places), 1)))


def bins(length: int, size: int) -> tuple[Integers, Integers]:
    """First pixel and end of each of ``size`` bins: floor(i·length / size) to ceil((i + 1)·length / size).

    They overlap where ``size`` does not divide ``length`` (torch.nn.AdaptiveAvgPool2d).
    """
    number = np.arange(size)
    return number * length // size, -(-(number + 1) * length // size)
