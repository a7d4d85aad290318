"""Copies of boxes from one array into another, axes in another order if wanted: slices, borders, concatenation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.blocks import Blocks, Shape, plan_blocks
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import ItemBox
from nnlib.precision import StorageName
from sim.chip.dma import Integers
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles, transpose_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class Move:
    """A box of ``size`` (target's axes): ``target[target_start + i] = source[source_start + i]`` in the source's order.

    Axis a of the target is axis ``axes[a]`` of the source. The box may reach beyond the source.
    """

    source: Shape
    target: Shape
    size: Shape
    source_start: Shape
    target_start: Shape
    axes: Shape

    def in_source(self, places: Sequence[int]) -> Shape:
        """Numbers per axis of the target in the order of the source's axes."""
        found = [0] * len(places)
        for target, source in enumerate(self.axes):
            found[source] = places[target]
        return tuple(found)

    @property
    def inside(self) -> bool:
        """True if the box lies within the source."""
        return all(
            start >= 0 and start + size <= length
            for start, size, length in zip(self.source_start, self.in_source(self.size), self.source, strict=True)
        )

    @property
    def covers(self) -> bool:
        """True if the whole target is written."""
        return self.size == self.target


@dataclass(frozen=True)
class Copy:
    """``y`` = a box of ``x``; ``fill`` where the box lies beyond it. What else ``y`` has is kept."""

    move: Move
    dtype: StorageName
    fill: float = 0.0
    label: str = "copy"

    @property
    def name(self) -> str:
        return self.label

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", self.move.source, "in"),
            Parameter("y", self.move.target, "out" if self.move.covers else "inout"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        move_box(self.move, arrays["x"], arrays["y"], self.fill)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        copy_box(core_group, self.name, self.move, arguments["x"], arguments["y"], fill=self.fill)


@dataclass(frozen=True)
class Concatenate:
    """``y`` (outer, sum of sizes, inner) = arrays ``x0``, ``x1``, ... (outer, size, inner) one behind the other."""

    outer: int
    sizes: tuple[int, ...]
    inner: int
    dtype: StorageName

    @property
    def name(self) -> str:
        return "concatenate"

    @property
    def moves(self) -> tuple[Move, ...]:
        """One for each array."""
        first = np.cumsum((0, *self.sizes)).tolist()
        target = (self.outer, first[-1], self.inner)
        return tuple(
            Move(
                source=(self.outer, size, self.inner),
                target=target,
                size=(self.outer, size, self.inner),
                source_start=(0, 0, 0),
                target_start=(0, start, 0),
                axes=(0, 1, 2),
            )
            for size, start in zip(self.sizes, first, strict=False)
        )

    def parameters(self) -> tuple[Parameter, ...]:
        moves = self.moves
        sources = tuple(Parameter(f"x{number}", move.source, "in") for number, move in enumerate(moves))
        return (*sources, Parameter("y", moves[0].target, "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        for number, move in enumerate(self.moves):
            move_box(move, arrays[f"x{number}"], arrays["y"])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        for number, move in enumerate(self.moves):
            copy_box(core_group, self.name, move, arguments[f"x{number}"], arguments["y"])


def whole_move(source: Shape, axes: Shape) -> Move:
    """A whole array with its axes in the order ``axes``."""
    target = tuple(source[axis] for axis in axes)
    nothing = (0,) * len(source)
    return Move(source=source, target=target, size=target, source_start=nothing, target_start=nothing, axes=axes)


def shifted_move(source: Shape, target: Shape, start: Shape) -> Move:
    """A whole target from ``start`` of the source on: a slice, and borders where it begins before or ends behind."""
    axes = tuple(range(len(source)))
    return Move(
        source=source, target=target, size=target, source_start=start, target_start=(0,) * len(source), axes=axes
    )


def move_box(move: Move, source: Array, target: Array, fill: float = 0.0) -> None:
    """The move by whole arrays."""
    size = move.in_source(move.size)
    box = np.full(size, fill, dtype=source.dtype)
    low = [max(-start, 0) for start in move.source_start]
    high = [
        max(min(length - start, extent), first)
        for start, length, extent, first in zip(move.source_start, move.source, size, low, strict=True)
    ]
    inside = tuple(slice(first, end) for first, end in zip(low, high, strict=True))
    outside = tuple(
        slice(start + first, start + end) for start, first, end in zip(move.source_start, low, high, strict=True)
    )
    if all(end > first for first, end in zip(low, high, strict=True)):
        box[inside] = source[outside]
    place = tuple(slice(start, start + extent) for start, extent in zip(move.target_start, move.size, strict=True))
    target[place] = box.transpose(move.axes)


def copy_box(
    core_group: CoreGroup, label: str, move: Move, source: MemoryArray, target: MemoryArray, *, fill: float = 0.0
) -> None:
    """The move through the LDM, block by block."""
    blocks = _plan(label, move, source.dtype.itemsize, core_group.processor)
    back = np.argsort(move.axes)
    block = move.in_source(blocks.block)
    cpe = core_group.cpe
    if move.axes[-1] == len(move.axes) - 1:
        cycles = stream_cycles(cpe=cpe, body=Body(loads=1, stores=1), elements=prod(block))
    else:
        cycles = transpose_cycles(cpe=cpe, elements=prod(block))

    def starts(iteration: int) -> Integers:
        places: Integers = blocks.origins(iteration)[:, back] + np.asarray(move.source_start)
        return places

    # what a block reaches beyond its box must not be written beside it
    view = target if move.covers else part_of(target, move.target_start, move.size)

    def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        outs[0][...] = ins[0].transpose(0, *(axis + 1 for axis in move.axes))
        if fill and not move.inside:
            outside = _outside(starts(iteration), block, move.source)
            outs[0][outside.transpose(0, *(axis + 1 for axis in move.axes))] = fill

    stream(
        core_group,
        label,
        iterations=blocks.iterations,
        whole=blocks.whole if move.inside else None,
        period=blocks.period,
        inputs=[Operand(source, block, starts, None)],
        outputs=[Operand(view, blocks.block, blocks.origins, None)],
        cycles=blocks.cycles(cycles),
        run_at=run_at,
    )


def part_of(array: MemoryArray, start: Shape, size: Shape) -> MemoryArray:
    """A box of an array, with gaps between its rows."""
    strides = array.strides
    places = tuple(slice(first, first + extent) for first, extent in zip(start, size, strict=True))
    return replace(
        array,
        shape=size,
        address=array.address + sum(first * stride for first, stride in zip(start, strides, strict=True)),
        data=None if array.data is None else array.data[places],
        pitch=strides,
    )


def _outside(starts: Integers, block: Shape, shape: Shape) -> NDArray[np.bool_]:
    """Which numbers of the CPEs' blocks lie beyond an array, (CPEs, *block)."""
    outside = np.zeros((len(starts), *block), dtype=bool)
    for axis, (size, length) in enumerate(zip(block, shape, strict=True)):
        place = starts[:, axis, None] + np.arange(size)
        beyond = (place < 0) | (place >= length)
        outside |= beyond.reshape(len(starts), *(size if each == axis else 1 for each in range(len(block))))
    return outside


@lru_cache(maxsize=256)
def _plan(label: str, move: Move, item_bytes: int, processor: ProcessorSpec) -> Blocks:
    def boxes(block: Shape) -> tuple[ItemBox, ItemBox]:
        return ItemBox(move.in_source(block), move.source), ItemBox(block, move.target)

    return plan_blocks(kernel=label, shape=move.size, item_bytes=item_bytes, boxes=boxes, processor=processor)
