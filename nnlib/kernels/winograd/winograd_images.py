"""Winograd's transforms of images: tiles of pixels to planes, and planes back to tiles of pixels.

Planes hold the same element of all transformed tiles: (16, batch, tile rows, tile columns, channels) or, channels
first, (16, channels, batch, tile rows, tile columns).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.order import Order, image_index, ordered_shape, tiles_last, to_channels_last
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, plan_items
from nnlib.kernels.winograd.winograd_tiles import (
    PLANES,
    REACH,
    STEP,
    WHOLE,
    Grid,
    Share,
    both_sides,
    input_matrix,
    output_matrix,
)
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array, Shape
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Side: TypeAlias = Literal["input", "output"]

INPUT: Final[Mapping[Order, Body]] = {
    "channels-last": Body(loads=16, stores=16, arithmetic=32),
    "channels-first": Body(loads=12, stores=16, arithmetic=32 + 32),
}
"""B^T d B of a vector: four additions for each of 4 columns, then of 4 rows.

A vector is channels of a tile or, channels first, four tiles of a row: of each of 4 rows of pixels 3 vectors, two
shuffles for each of 4 columns.
"""
OUTPUT: Final[Mapping[Order, Body]] = {
    "channels-last": Body(loads=16, stores=4, arithmetic=24),
    "channels-first": Body(loads=16, stores=4, arithmetic=24 + 8),
}
"""A^T m A: four additions for each of 4 columns, then of 2 rows; two shuffles for each vector of pixels."""
ADJOINT: Final[Mapping[Order, Body]] = {
    "channels-last": Body(loads=4, stores=16, arithmetic=18),
    "channels-first": Body(loads=4, stores=16, arithmetic=18 + 8),
}
"""A y A^T: two additions and a change of sign for each of 2 columns, then of 4 rows; shuffles as above."""


@dataclass(frozen=True, kw_only=True)
class PixelsToPlanes:
    """``planes`` of ``image``: B^T d B of a convolution's input, or A y A^T of the gradient by its output.

    ``image`` is (batch, rows, columns, channels), the grid that of the convolution's outputs, and its ``share`` of
    the planes is written.
    """

    grid: Grid
    channels: int
    padding: int
    side: Side
    dtype: DTypeName
    order: Order = "channels-last"
    share: Share = WHOLE

    @property
    def name(self) -> str:
        return f"winograd_{self.side}_to_planes"

    @property
    def reach(self) -> int:
        """Pixels of a tile along an axis."""
        return REACH if self.side == "input" else STEP

    @property
    def image_shape(self) -> Shape:
        """An input has 3 - 1 pixels more than the output, less its padding on both sides."""
        more = REACH - STEP - 2 * self.padding if self.side == "input" else 0
        return _image_shape(self, more)

    @property
    def matrix(self) -> Array:
        return input_matrix() if self.side == "input" else output_matrix().T

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("image", self.image_shape, "in"),
            Parameter("planes", _planes_shape(self), "out" if self.share.parts == 1 else "inout"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The transform of whole images."""
        grid, pad, image = self.grid, self.padding, to_channels_last(self.order, arrays["image"])
        samples, rows = self.share.region(grid)
        reach = self.reach - STEP
        shape = (grid.batch, STEP * grid.tile_rows + reach, STEP * grid.tile_columns + reach, self.channels)
        padded = np.zeros(shape, dtype=image.dtype)
        region = padded[:, pad : pad + image.shape[1], pad : pad + image.shape[2]]
        region[...] = image[:, : region.shape[1], : region.shape[2]]
        chosen = np.s_[:, samples.start : samples.stop, rows.start : rows.stop]
        _planes_last(self.order, arrays["planes"])[chosen] = _planes(padded, self.reach, self.matrix)[chosen]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: items of tiles, double-buffered; nothing where the share is empty."""
        if _is_empty(self):
            return
        items, image, planes = _plan(self, core_group.processor)
        order, matrix, reach = self.order, self.matrix, self.reach

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            target = _planes_last(order, outs[0].swapaxes(0, 1))
            target[...] = _planes(tiles_last(order, ins[0]), reach, matrix)[:, :, None]

        body = INPUT[order] if self.side == "input" else ADJOINT[order]
        tiles = prod(planes.size[1:])
        items.stream(
            core_group,
            self.name,
            inputs=[image.operand(arguments["image"])],
            outputs=[planes.operand(arguments["planes"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=tiles),
            run=run,
        )


@dataclass(frozen=True, kw_only=True)
class PlanesToPixels:
    """``image`` = A^T m A of the transformed tiles m in ``planes``: a convolution's output, its ``share`` of it."""

    grid: Grid
    channels: int
    dtype: DTypeName
    order: Order = "channels-last"
    share: Share = WHOLE

    @property
    def name(self) -> str:
        return "winograd_planes_to_output"

    @property
    def image_shape(self) -> Shape:
        return _image_shape(self, 0)

    @property
    def padding(self) -> int:
        return 0

    @property
    def reach(self) -> int:
        return STEP

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("planes", _planes_shape(self), "in"),
            Parameter("image", self.image_shape, "out" if self.share.parts == 1 else "inout"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The transform of whole images."""
        samples, rows = self.share.region(self.grid)
        pixels = _pixels(_planes_last(self.order, arrays["planes"]))[:, : self.grid.rows, : self.grid.columns]
        chosen = np.s_[samples.start : samples.stop, STEP * rows.start : STEP * rows.stop]
        to_channels_last(self.order, arrays["image"])[chosen] = pixels[chosen]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: items of tiles, double-buffered; nothing where the share is empty."""
        if _is_empty(self):
            return
        items, image, planes = _plan(self, core_group.processor)

        order = self.order

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            source = _planes_last(order, ins[0].swapaxes(0, 1))
            tiles_last(order, outs[0])[...] = _pixels(source[:, :, 0])

        tiles = prod(planes.size[1:])
        items.stream(
            core_group,
            self.name,
            inputs=[planes.operand(arguments["planes"])],
            outputs=[image.operand(arguments["image"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=OUTPUT[self.order], elements=tiles),
            run=run,
        )


@lru_cache(maxsize=64)
def _plan(kernel: PixelsToPlanes | PlanesToPixels, processor: ProcessorSpec) -> tuple[Items, Boxes, Boxes]:
    """The items of the kernel's share, and the box of each in the image and in the planes."""
    grid, padding, more = kernel.grid, kernel.padding, kernel.reach - STEP
    samples, rows = kernel.share.region(grid)

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        reach = STEP * plan.rows + more, STEP * plan.columns + more
        image = ordered_shape(kernel.order, batch=1, rows=reach[0], columns=reach[1], channels=plan.channels)
        tiles = ordered_shape(kernel.order, batch=1, rows=plan.rows, columns=plan.columns, channels=plan.channels)
        return ItemBox(image, kernel.image_shape), ItemBox((PLANES, *tiles), _planes_shape(kernel))

    place = partial(image_index, kernel.order)
    items = plan_items(
        kernel=kernel.name,
        batch=len(samples),
        rows=len(rows),
        columns=grid.tile_columns,
        channels=kernel.channels,
        multiple=1,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    image, planes = boxes(items.plan)
    first, top = samples.start, rows.start
    return (
        items,
        items.boxes(
            image.size,
            lambda o: place(first + o[0], STEP * (top + o[1]) - padding, STEP * o[2] - padding, o[3]),
        ),
        items.boxes(planes.size, lambda o: (np.zeros_like(o[0]), *place(first + o[0], top + o[1], o[2], o[3]))),
    )


def _is_empty(kernel: PixelsToPlanes | PlanesToPixels) -> bool:
    """True if there are fewer samples, or rows of tiles, than core groups."""
    return not all(kernel.share.region(kernel.grid))


def _image_shape(kernel: PixelsToPlanes | PlanesToPixels, more: int) -> Shape:
    """Images with ``more`` rows and columns than there are outputs."""
    grid = kernel.grid
    return ordered_shape(
        kernel.order, batch=grid.batch, rows=grid.rows + more, columns=grid.columns + more, channels=kernel.channels
    )


def _planes_shape(kernel: PixelsToPlanes | PlanesToPixels) -> Shape:
    grid = kernel.grid
    tiles = ordered_shape(
        kernel.order, batch=grid.batch, rows=grid.tile_rows, columns=grid.tile_columns, channels=kernel.channels
    )
    return PLANES, *tiles


def _planes_last(order: Order, planes: Array) -> Array:
    """Planes with the channels on the last axis: a view. Of CPEs' tiles, (16, CPEs, ...), that too."""
    if order == "channels-last":
        return planes
    return np.moveaxis(planes, planes.ndim - 4, -1)


def _planes(images: Array, reach: int, matrix: Array) -> Array:
    """Images (n, pixels, pixels, channels) of whole tiles to (16, n, tile rows, tile columns, channels)."""
    count, rows, columns, channels = images.shape
    n, h, w, c = images.strides
    more = reach - STEP
    shape = (reach, reach, count, (rows - more) // STEP, (columns - more) // STEP, channels)
    seen = np.lib.stride_tricks.as_strided(images, shape, (h, w, n, STEP * h, STEP * w, c), writeable=False)
    return both_sides(matrix, seen).reshape(PLANES, *shape[2:])


def _pixels(planes: Array) -> Array:
    """Planes (16, n, tile rows, tile columns, channels) to images (n, pixels, pixels, channels)."""
    _, count, rows, columns, channels = planes.shape
    tiles = both_sides(output_matrix(), planes.reshape(REACH, REACH, *planes.shape[1:]))
    return tiles.transpose(2, 3, 0, 4, 1, 5).reshape(count, STEP * rows, STEP * columns, channels)
