"""What a DMA request costs: blocks and 128 B lines counted from real addresses.

A request is described by the box that each CPE transfers between main memory and its LDM. The DMA engine moves it
in turns of one line; a turn's length follows from the machine file:

    service = descriptors·request + Σ over blocks max(minimum, block + lines·line) (+ partial per block of small puts)

(The formula of THESIS eq. 3-1 with per-request and per-block service; lines touched are counted whole, and so are
a put's granules.) ``block`` and ``minimum`` are the price of going to another place in memory: blocks that lie side
by side with another CPE's, as those of a tile do, come together and do not pay it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.chip.memory import MemoryArray
from sim.machine.spec import DmaSpec, ProcessorSpec
from sim.time import ticks_from_cycles, ticks_from_seconds

Integers = NDArray[np.int64]
Direction = Literal["get", "put"]


@dataclass(frozen=True)
class DmaTicks:
    """The engine's service times in ticks.

    ``channel_line``: a line's bytes on a CPE's channel. ``bus_lines``: the least time of a line by the number of data
    buses that have requests, 0 for no limit.
    """

    line: int
    request: int
    block: int
    partial_put_block: int
    startup: int
    issue: int
    channel_line: int
    block_minimum: int
    put_granule: int
    put_request: int
    put_block: int
    bus_lines: tuple[int, ...]

    @classmethod
    def of(cls, processor: ProcessorSpec) -> DmaTicks:
        dma: DmaSpec = processor.dma

        def ticks(seconds: float) -> int:
            return ticks_from_seconds(seconds, clock_hertz=processor.clock_hertz)

        quarter = ticks(dma.line_bytes / dma.quarter_bytes_per_second)
        half = ticks(dma.line_bytes / dma.half_bytes_per_second)
        buses = -(-processor.mesh.columns // dma.columns_per_bus)
        return cls(
            line=ticks(dma.line_seconds),
            request=ticks(dma.request_seconds),
            block=ticks(dma.block_seconds),
            partial_put_block=ticks(dma.partial_put_block_seconds),
            startup=ticks_from_cycles(dma.startup_cycles),
            issue=ticks_from_cycles(dma.issue_cycles),
            channel_line=ticks(dma.line_bytes / dma.channel_bytes_per_second),
            block_minimum=ticks(dma.block_minimum_seconds),
            put_granule=ticks((dma.line_seconds + dma.put_line_extra_seconds) * dma.put_granule_bytes / dma.line_bytes),
            put_request=ticks(dma.request_seconds + dma.put_request_extra_seconds),
            put_block=ticks(dma.block_seconds + dma.put_block_extra_seconds),
            bus_lines=tuple(
                quarter if 4 * busy <= buses else half if 2 * busy <= buses else 0 for busy in range(buses + 1)
            ),
        )


@dataclass(frozen=True, eq=False)
class Requests:
    """One transfer of every CPE. Arrays over the CPEs in row-major order; 0 lines: that CPE transfers nothing.

    A request takes ``lines`` turns of the engine of ``quantum`` ticks each, the first ``first`` ticks longer, and its
    bytes occupy the CPE's channel for ``channel`` ticks.
    """

    direction: Direction
    descriptors: Integers
    blocks: Integers
    lines: Integers
    bytes: Integers
    quantum: Integers
    first: Integers
    channel: Integers

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all CPEs."""
        return int(self.bytes.sum())

    @cached_property
    def total_lines(self) -> int:
        """Lines of all CPEs."""
        return int(self.lines.sum())

    @cached_property
    def total_descriptors(self) -> int:
        """Descriptors of all CPEs."""
        return int(self.descriptors.sum())

    @cached_property
    def per_cpe(self) -> tuple[tuple[int, int, int, int, int], ...]:
        """Per CPE descriptors, lines, quantum, first and channel."""
        columns = (self.descriptors, self.lines, self.quantum, self.first, self.channel)
        return tuple(zip(*(column.tolist() for column in columns), strict=True))


@dataclass(frozen=True)
class Box:
    """The part of ``array`` that each CPE transfers: ``size`` elements per axis from its own start.

    ``starts`` has shape (CPEs, axes). What lies outside the array is not transferred.
    """

    array: MemoryArray
    size: tuple[int, ...]
    starts: Integers

    def bounds(self) -> tuple[Integers, Integers]:
        """First index and extent per CPE and axis, clipped to the array; extent 0 where nothing is left."""
        low = np.maximum(self.starts, 0)
        high = np.minimum(self.starts + np.asarray(self.size), np.asarray(self.array.shape))
        return low, np.maximum(high - low, 0)


def count(
    *,
    box: Box,
    direction: Direction,
    dma: DmaSpec,
    ticks: DmaTicks,
    line_factor: float = 1.0,
    together: bool = True,
) -> Requests:
    """Descriptors, blocks, lines and service of the box's transfer by every CPE.

    ``line_factor``: how much longer than usual a line takes; ``together``: whether blocks side by side come together.
    A block is a run of consecutive bytes; a descriptor holds equally spaced blocks of one stride, so a box with more
    strides needs several.
    """
    array = box.array
    low, extent = box.bounds()
    active = np.all(extent > 0, axis=1)
    strides = np.asarray(array.strides, dtype=np.int64)
    axes = np.arange(len(array.shape))
    # an axis that is transferred whole runs on into the next of the axis before it, if no gap lies between
    joined = np.append(True, strides[:-1] == strides[1:] * array.shape[1:])
    full = (extent == np.asarray(array.shape)) & joined
    inner = _run_axis(full)
    block_bytes = np.prod(np.where(axes >= inner[:, None], extent, 1), axis=1) * array.dtype.itemsize
    outer = np.where(axes < inner[:, None], extent, 1)
    blocks = np.where(active, np.prod(outer, axis=1), 0)
    spaced = np.where(axes < _stride_axis(outer, full, inner)[:, None], outer, 1)
    descriptors = np.where(active, np.prod(spaced, axis=1), 0)
    addresses = array.address + low @ strides
    offsets, used = _block_offsets(outer=outer, strides=strides)
    begin = addresses[:, None] + offsets[None, :]
    last = begin + block_bytes[:, None] - 1
    touched = _touched(begin, last, dma.line_bytes)
    lines = np.where(active, np.sum(np.where(used, touched, 0), axis=1), 0)
    apart = active if not together else active & ~_beside(addresses, addresses + block_bytes, active)
    if direction == "get":
        request, block, each = ticks.request, ticks.block, touched * round(ticks.line * line_factor)
    else:
        written = _touched(begin, last, dma.put_granule_bytes)
        request, block, each = ticks.put_request, ticks.put_block, written * round(ticks.put_granule * line_factor)
    each = np.where(apart[:, None], np.maximum(each + block, ticks.block_minimum), each)
    service = descriptors * request + np.where(active, np.sum(np.where(used, each, 0), axis=1), 0)
    if direction == "put":
        partial = block_bytes <= dma.partial_put_block_bytes
        service += np.where(partial, blocks * ticks.partial_put_block, 0)
    turns = np.maximum(lines, 1)
    quantum = service // turns
    moved = np.where(active, blocks * block_bytes, 0)
    return Requests(
        direction=direction,
        descriptors=descriptors,
        blocks=blocks,
        lines=lines,
        bytes=moved,
        quantum=quantum,
        first=service - quantum * turns,
        channel=moved * ticks.channel_line // dma.line_bytes,
    )


def _beside(begin: Integers, end: Integers, active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which CPEs' blocks lie side by side with another's, told from the first block of each."""
    return np.isin(begin, end[active]) | np.isin(end, begin[active])


def _touched(begin: Integers, last: Integers, unit: int) -> Integers:
    """How many aligned units of ``unit`` bytes the bytes from ``begin`` to ``last`` touch."""
    return last // unit - begin // unit + 1


def _run_axis(full: NDArray[np.bool_]) -> Integers:
    """Per CPE the axis from which on a box is one run of bytes: all axes behind it are full."""
    cpes, axes = full.shape
    axis = np.full(cpes, axes - 1)
    tail = np.ones(cpes, dtype=bool)
    for candidate in range(axes - 1, 0, -1):
        tail &= full[:, candidate]
        axis[tail] = candidate - 1
    return axis


def _stride_axis(outer: Integers, full: NDArray[np.bool_], inner: Integers) -> Integers:
    """Per CPE the outermost axis that one stride covers.

    It begins at the innermost axis with more than one block; full axes continue its spacing.
    """
    axis = np.maximum(inner - 1, 0)
    for moves_on in (outer == 1, full):
        for candidate in range(full.shape[1] - 1, 0, -1):
            axis[(axis == candidate) & moves_on[:, candidate]] = candidate - 1
    return axis


def _block_offsets(*, outer: Integers, strides: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Byte offsets of the largest box's blocks, and which of them each CPE has."""
    largest = tuple(int(length) for length in outer.max(axis=0, initial=0))
    indices = np.indices(largest).reshape(len(largest), prod(largest))
    offsets = strides @ indices
    used = np.all(indices[None, :, :] < outer[:, :, None], axis=1)
    return offsets, used
