"""im2col and its adjoint col2im: the layout transforms of a convolution as explicit GEMM.

The columns are a matrix of output pixels × (taps, channels) where channels lie last, and of (channels, taps) × output
pixels where they lie first, as in Caffe: there a CPE gets rows of pixels and puts them once for each tap, shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import numpy as np

from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.order import Order, image_index, ordered_shape, tiles_last, to_channels_last
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.patches import col2im, im2col, patches_seen
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.dma import Integers
from sim.chip.memory import Array, MemoryArray, Shape
from sim.chip.pipeline import Body, stream_cycles
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True)
class Im2col:
    """``cols[b·ro·co, taps·channels] = the patch of x under each output pixel``, or its transpose, channels first."""

    window: Window
    dtype: DTypeName
    order: Order = "channels-last"

    @property
    def name(self) -> str:
        return "im2col"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", image_shape(self.window, self.order), "in"),
            Parameter("cols", column_shape(self.window, self.order), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window, x = self.window, to_channels_last(self.order, arrays["x"])
        patches = im2col(x, window.kernel, window.stride, window.padding, window.dilation)
        if self.order == "channels-first":
            patches = patches.reshape(-1, window.taps, window.channels).transpose(2, 1, 0)
        arrays["cols"][...] = patches.reshape(arrays["cols"].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        plan, order = _plan_im2col(self, core_group.processor), self.order
        seen, items = plan.seen, plan.items

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            patches = patches_seen(tiles_last(order, ins[0]), seen.kernel, seen.stride, seen.dilation)
            if order == "channels-first":
                patches = patches.transpose(0, 5, 3, 4, 1, 2)
            outs[0].reshape(patches.shape)[...] = patches

        body = _gather(seen, order)
        for source, target in plan.boxes:
            cycles = stream_cycles(cpe=core_group.processor.cpe, body=body, elements=prod(target.size))
            items.stream(
                core_group,
                self.name,
                inputs=[source.operand(arguments["x"])],
                outputs=[target.operand(_column_blocks(arguments["cols"], self.window, order))],
                cycles=cycles,
                run=run,
            )


@dataclass(frozen=True, eq=False)
class _Im2colPlan:
    """The items, the part of the window that each sees at a time, and its boxes in the images and in the columns."""

    items: Items
    seen: Window
    boxes: tuple[tuple[Boxes, Boxes], ...]


@lru_cache(maxsize=64)
def _plan_im2col(kernel: Im2col, processor: ProcessorSpec) -> _Im2colPlan:
    """The whole window at once or, channels first, one row of taps after the other: what is estimated to be faster.

    All taps of a large window leave room for few pixels; their runs are short then. Raises InfeasiblePlan if neither
    fits the LDM.
    """
    whole = kernel.window.kernel[0]
    if kernel.order == "channels-last" or whole == 1:
        return _plan_tap_rows(kernel, processor, whole)
    one = _plan_tap_rows(kernel, processor, 1)
    try:
        every = _plan_tap_rows(kernel, processor, whole)
    except InfeasiblePlan:
        return one
    return one if whole * one.items.seconds < every.items.seconds else every


def _plan_tap_rows(kernel: Im2col, processor: ProcessorSpec, tap_rows: int) -> _Im2colPlan:
    """The items if ``tap_rows`` rows of taps are gathered at a time."""
    window, order = kernel.window, kernel.order
    seen = replace(window, kernel=(tap_rows, window.kernel[1]))

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        reach = (plan.rows - 1) * window.stride + seen.reach[0], (plan.columns - 1) * window.stride + seen.reach[1]
        return (
            _image_box(window, order, reach, plan.channels),
            _column_box(window, order, (plan.rows, plan.columns), plan.channels, taps=seen.taps),
        )

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.out_height,
        columns=window.out_width,
        channels=window.channels,
        multiple=1,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    image, columns = boxes(items.plan)
    stride, padding = window.stride, window.padding

    def of(first: int) -> tuple[Boxes, Boxes]:
        """The boxes for the taps from row ``first`` on."""
        above = first * window.dilation - padding
        return (
            items.boxes(
                image.size, lambda o: image_index(order, o[0], o[1] * stride + above, o[2] * stride - padding, o[3])
            ),
            items.boxes(columns.size, lambda o: _in_columns(order, *o, tap=first * window.kernel[1])),
        )

    return _Im2colPlan(items, seen, tuple(of(first) for first in range(0, window.kernel[0], tap_rows)))


@dataclass(frozen=True)
class Col2im:
    """``x = sum of the patches in cols back onto their pixels``: the adjoint of :class:`Im2col`."""

    window: Window
    dtype: DTypeName
    order: Order = "channels-last"

    @property
    def name(self) -> str:
        return "col2im"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("cols", column_shape(self.window, self.order), "in"),
            Parameter("x", image_shape(self.window, self.order), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window, cols = self.window, arrays["cols"]
        if self.order == "channels-first":
            cols = cols.reshape(window.channels, window.taps, -1).transpose(2, 1, 0)
        patches = cols.reshape(window.batch, window.out_height, window.out_width, -1)
        shape, kernel, padding = last_shape(window), window.kernel, window.padding
        x = to_channels_last(self.order, arrays["x"])
        x[...] = col2im(patches, shape, kernel, window.stride, padding, window.dilation)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = self.window
        (kh, kw), stride, padding = window.reach, window.stride, window.padding
        items, source, target = _plan_col2im(self, core_group.processor)
        plan, order = items.plan, self.order
        counts = source.size[1:3] if order == "channels-last" else source.size[3:]
        first = _first_patch(window, kh), _first_patch(window, kw)
        # how far above and left of the item's first pixel its first window begins
        above, left = padding - first[0] * stride, padding - first[1] * stride

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            cols = ins[0]
            if order == "channels-first":
                cols = cols.reshape(len(cols), plan.channels, window.taps, *counts).transpose(0, 3, 4, 2, 1)
            cols = cols.reshape(len(cols), *counts, window.taps * plan.channels)
            shape = (len(cols), plan.rows, plan.columns, plan.channels)
            tiles_last(order, outs[0])[...] = col2im(cols, shape, window.kernel, stride, (above, left), window.dilation)

        elements = prod(source.size)
        gather = _gather(window, order)
        body = Body(loads=gather.loads + 1, stores=1, arithmetic=gather.arithmetic + 1)
        items.stream(
            core_group,
            self.name,
            inputs=[source.operand(_column_blocks(arguments["cols"], window, self.order))],
            outputs=[target.operand(arguments["x"])],
            cycles=stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements),
            run=run,
            flops=window.batch * window.out_height * window.out_width * window.taps * window.channels,
        )


@lru_cache(maxsize=64)
def _plan_col2im(kernel: Col2im, processor: ProcessorSpec) -> tuple[Items, Boxes, Boxes]:
    """The items, and what each gets of the columns and puts of the images."""
    window, order = kernel.window, kernel.order
    (kh, kw), stride = window.reach, window.stride
    first = _first_patch(window, kh), _first_patch(window, kw)

    def patches(length: int, first: int) -> int:
        """Output pixels whose windows reach ``length`` input pixels that begin at a multiple of the stride.

        One even where strides pass over the pixels: a transfer has to be of something.
        """
        return max(1, (length - 1 + window.padding) // stride - first + 1)

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        counts = patches(plan.rows, first[0]), patches(plan.columns, first[1])
        return (
            _column_box(window, order, counts, plan.channels, taps=window.taps),
            _image_box(window, order, (plan.rows, plan.columns), plan.channels),
        )

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.height,
        columns=window.width,
        channels=window.channels,
        multiple=stride,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    columns, image = boxes(items.plan)
    source = items.boxes(
        columns.size,
        lambda o: _in_columns(order, o[0], o[1] // stride + first[0], o[2] // stride + first[1], o[3]),
    )
    return items, source, items.boxes(image.size, lambda o: image_index(order, *o))


def _first_patch(window: Window, kernel: int) -> int:
    """The first output pixel whose window, ``kernel`` long, reaches input pixel 0."""
    return -((kernel - 1 - window.padding) // window.stride)


def last_shape(window: Window) -> tuple[int, int, int, int]:
    """The images with their channels last."""
    return window.batch, window.height, window.width, window.channels


def image_shape(window: Window, order: Order) -> Shape:
    """The images."""
    return ordered_shape(order, batch=window.batch, rows=window.height, columns=window.width, channels=window.channels)


def column_shape(window: Window, order: Order) -> tuple[int, int]:
    """The columns as a matrix."""
    pixels, depth = window.batch * window.out_height * window.out_width, window.taps * window.channels
    return (pixels, depth) if order == "channels-last" else (depth, pixels)


def _column_blocks(cols: MemoryArray, window: Window, order: Order) -> MemoryArray:
    """The column matrix seen by sample, output row, output column, tap and channel."""
    return cols.reshape(*_block_shape(window, order))


def _block_shape(window: Window, order: Order) -> Shape:
    if order == "channels-last":
        return window.batch, window.out_height, window.out_width, window.taps, window.channels
    return window.channels, window.taps, window.batch, window.out_height, window.out_width


def _image_box(window: Window, order: Order, pixels: tuple[int, int], channels: int) -> ItemBox:
    """Pixels of one image."""
    size = ordered_shape(order, batch=1, rows=pixels[0], columns=pixels[1], channels=channels)
    return ItemBox(size, image_shape(window, order))


def _column_box(window: Window, order: Order, pixels: tuple[int, int], channels: int, *, taps: int) -> ItemBox:
    """``taps`` taps of output pixels of one image."""
    size = (1, *pixels, taps, channels) if order == "channels-last" else (channels, taps, 1, *pixels)
    return ItemBox(size, _block_shape(window, order))


def _in_columns(
    order: Order, sample: Integers, row: Integers, column: Integers, channel: Integers, *, tap: int = 0
) -> tuple[Integers, ...]:
    """A place as indices of the blocks of columns, from ``tap`` on."""
    taps = np.full_like(sample, tap)
    return (sample, row, column, taps, channel) if order == "channels-last" else (channel, taps, sample, row, column)


def _gather(window: Window, order: Order) -> Body:
    """A vector of a patch: along the channels as it lies; along a row of pixels from between two vectors, or singly."""
    if order == "channels-last":
        return Body(loads=1, stores=1)
    if window.stride == 1:
        return Body(loads=2, stores=1, arithmetic=1)
    return Body(loads=4, stores=1, arithmetic=3)
