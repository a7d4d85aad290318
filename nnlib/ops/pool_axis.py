"""Windows of pooling along one axis: how many there are, which pixels each tap meets, how large each is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")
Sizes = int | Sequence[int]
"""One number for all axes of the pixels, or one for each."""
Paddings = int | Sequence[int | tuple[int, int]]
"""Also the pixels before and behind each axis."""


@dataclass(frozen=True)
class PoolAxis:
    """Windows of ``kernel`` taps, ``dilation`` pixels apart, every ``stride`` pixels of an axis of ``length``.

    ``padding`` pixels before the axis, and behind it if ``behind`` does not say how many there. ``ceil_mode``: a last
    window may reach beyond them, if it begins before them (torch.nn.MaxPool2d). Raises ValueError for a padding as long
    as a window, for an axis without any window and for dilated windows that have no tap on a pixel.
    """

    length: int
    kernel: int
    stride: int
    padding: int = 0
    dilation: int = 1
    ceil_mode: bool = False
    behind: int | None = None

    def __post_init__(self) -> None:
        if max(self.padding, self.after) >= self.reach:
            raise ValueError(f"a padding of {self.padding} and {self.after} around windows of {self.reach} pixels")
        if self.length + self.padding + self.after < self.reach:
            raise ValueError(
                f"a window of {self.reach} pixels on {self.length}, padded {self.padding} and {self.after}"
            )
        if self.dilation > 1:
            met = np.zeros(self.count, dtype=bool)
            for windows, _ in self.taps:
                met[windows] = True
            if not met.all():
                raise ValueError(f"a window has none of {self.length} pixels: {self}")

    @property
    def reach(self) -> int:
        """Pixels from a window's first tap to its last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def after(self) -> int:
        """Padding behind the axis."""
        return self.padding if self.behind is None else self.behind

    @cached_property
    def count(self) -> int:
        """Windows."""
        left = self.length + self.padding + self.after - self.reach
        windows = (-(-left // self.stride) if self.ceil_mode else left // self.stride) + 1
        if self.ceil_mode and (windows - 1) * self.stride >= self.length + self.padding:
            windows -= 1
        return windows

    @cached_property
    def taps(self) -> tuple[tuple[slice, slice], ...]:
        """For each tap the windows in which it is on a pixel, and these pixels."""
        return tuple(self._tap(number * self.dilation - self.padding) for number in range(self.kernel))

    @property
    def inside(self) -> bool:
        """True if all taps of all windows are on pixels."""
        return self.padding == 0 and (self.count - 1) * self.stride + self.reach <= self.length

    def pixels(self) -> NDArray[np.int64]:
        """The place of each tap of each window, (windows, taps); also places outside the axis."""
        first = np.arange(self.count) * self.stride - self.padding
        return first[:, None] + np.arange(self.kernel) * self.dilation

    def sizes(self, *, padded: bool) -> NDArray[np.int64]:
        """Pixels of each window; ``padded``: those of the padding too, but none beyond it. Only without dilation."""
        first = np.arange(self.count) * self.stride - self.padding
        end = np.minimum(first + self.kernel, self.length + (self.after if padded else 0))
        return end - (first if padded else np.maximum(first, 0))

    def _tap(self, first: int) -> tuple[slice, slice]:
        """Of the places ``first``, ``first + stride``, ... those on the axis: their numbers, and they."""
        begin = max(0, -(first // self.stride))
        end = min(self.count, (self.length - 1 - first) // self.stride + 1)
        if end <= begin:
            return slice(0, 0), slice(0, 0)
        place = first + begin * self.stride
        return slice(begin, end), slice(place, place + (end - begin - 1) * self.stride + 1, self.stride)


def pool_axes(
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sizes,
    padding: Paddings = 0,
    dilation: Sizes = 1,
    *,
    ceil_mode: bool = False,
) -> tuple[PoolAxis, ...]:
    """The windows along each axis of the pixels of images of ``shape`` (B, pixels..., C)."""
    pixels = shape[1:-1]
    if len(kernel) != len(pixels):
        raise ValueError(f"a window of {tuple(kernel)} on images of shape {tuple(shape)}")
    strides, dilations = per_axis(stride, len(pixels)), per_axis(dilation, len(pixels))
    around = [each if isinstance(each, tuple) else (each, each) for each in _each(padding, len(pixels))]
    return tuple(
        PoolAxis(length, taps, step, before, apart, ceil_mode, behind)
        for length, taps, step, (before, behind), apart in zip(pixels, kernel, strides, around, dilations, strict=True)
    )


def per_axis(sizes: Sizes, axes: int) -> tuple[int, ...]:
    """One number for each axis. Raises ValueError if there are others."""
    return _each(sizes, axes)


def cachefuls(x: NDArray[Any], size: int) -> Iterator[tuple[slice, ...]]:
    """Samples, or channels where these lie further apart in memory, ``size`` bytes at a time."""
    axis = 0 if abs(x.strides[0]) >= abs(x.strides[-1]) else x.ndim - 1
    count = max(1, size * x.shape[axis] // max(x.nbytes, 1))
    return (along(axis, slice(first, first + count)) for first in range(0, x.shape[axis], count))


def along(axis: int, places: slice) -> tuple[slice, ...]:
    """An index that takes ``places`` of an axis."""
    return (slice(None),) * axis + (places,)


def _each(values: int | Sequence[Value], axes: int) -> tuple[Value | int, ...]:
    found = (values,) * axes if isinstance(values, int) else tuple(values)
    if len(found) != axes:
        raise ValueError(f"{found} for {axes} axes")
    return found
