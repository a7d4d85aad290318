"""Main memory of a core group: arrays with real addresses, because DMA counts 128 B lines from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Shape = tuple[int, ...]
Mode = Literal["private", "shared"]


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """How a launch uses the chip's memory: a property of the job, not of the kernel.

    ``mode``: each core group in its own memory, or all in one shared space ("all-chip share", R-swDNN).
    ``active``: core groups that run the kernel side by side. ``base_offset``: bytes by which every array begins past
    the machine's alignment; a large malloc returns 16 (R-swDNN). ``common_offset``: the same for arrays that all
    core groups read; None: as the others.
    """

    mode: Mode = "private"
    active: int = 1
    base_offset: int = 0
    common_offset: int | None = None

    @property
    def contended(self) -> bool:
        """True where several core groups share one memory space."""
        return self.mode == "shared" and self.active > 1


PRIVATE: Final = MemoryUse()
"""One core group alone in its own memory, arrays aligned."""


@dataclass(frozen=True, eq=False)
class MemoryArray:
    """An array at ``address`` in main memory; ``data`` is None in timing-only runs.

    ``common``: all active core groups read the same bytes, as weights are. ``pitch``: byte strides of a part of another
    array, such as a head's columns; None: row-major.
    """

    name: str
    shape: Shape
    dtype: np.dtype[np.floating]
    address: int
    data: Array | None = None
    common: bool = False
    pitch: Shape | None = None

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    @property
    def strides(self) -> Shape:
        """Byte strides."""
        if self.pitch is not None:
            return self.pitch
        strides = [self.dtype.itemsize]
        for length in self.shape[:0:-1]:
            strides.append(strides[-1] * length)
        return tuple(reversed(strides))

    def reshape(self, *shape: int) -> MemoryArray:
        """The same bytes under another shape. Raises ValueError if they are others, or not in one piece."""
        if self.pitch is not None:
            raise ValueError(f"{self.name}: a part of an array has no other shape than {self.shape}")
        if prod(shape) != prod(self.shape):
            raise ValueError(f"{self.name}: cannot see shape {self.shape} as {shape}")
        data = None if self.data is None else self.data.reshape(shape)
        return replace(self, shape=shape, data=data)

    def select(self, axis: int, index: int) -> MemoryArray:
        """What lies at ``index`` of ``axis``, under the remaining axes. Raises ValueError for the last axis."""
        if axis == len(self.shape) - 1:
            raise ValueError(f"{self.name}: the numbers of a row lie side by side, one of them is no row")
        strides = self.strides
        return replace(
            self,
            shape=(*self.shape[:axis], *self.shape[axis + 1 :]),
            address=self.address + index * strides[axis],
            data=None if self.data is None else self.data[(slice(None),) * axis + (index,)],
            pitch=None if axis == 0 and self.pitch is None else (*strides[:axis], *strides[axis + 1 :]),
        )


@dataclass
class AddressSpace:
    """Hands out addresses in one core group's memory, each ``offset`` past the alignment and never overlapping.

    ``common_offset``: that of common arrays, if it is another one.
    """

    alignment: int = 128
    next_address: int = 0
    offset: int = 0
    common_offset: int | None = None

    def place(
        self,
        *,
        name: str,
        shape: Shape,
        dtype: np.dtype[np.floating],
        data: Array | None = None,
        common: bool = False,
    ) -> MemoryArray:
        """A new array behind all earlier ones. ``data``, if given, must have the shape and dtype."""
        if data is not None and (data.shape != shape or data.dtype != dtype):
            raise ValueError(f"{name}: data is {data.dtype}{data.shape}, expected {dtype}{shape}")
        offset = self.common_offset if common and self.common_offset is not None else self.offset
        address = self.next_address + offset
        array = MemoryArray(name=name, shape=shape, dtype=dtype, address=address, data=data, common=common)
        size = offset + max(array.nbytes, 1)
        self.next_address += -(-size // self.alignment) * self.alignment
        return array

    def place_data(self, *, name: str, data: Array) -> MemoryArray:
        """A new array that holds ``data``."""
        return self.place(name=name, shape=data.shape, dtype=data.dtype, data=data)
