"""im2col and its adjoint col2im: the layout transforms of a convolution as explicit GEMM.

The columns are a matrix of output pixels × (taps, channels) where channels lie last, and of (channels, taps) × output
pixels where they lie first, as in Caffe: there a CPE gets rows of pixels and puts them once for each tap, shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.convolutions.patch_window import PatchWindow, patched, under
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.order import Order, image_index, ordered_shape, tiles_last, to_channels_last
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.patches import add_patches, col2im, patches_seen, seen, spread
from nnlib.precision import DTYPES, STORAGE, DTypeName, StorageName
from sim.chip.dma import Integers
from sim.chip.memory import Array, MemoryArray, Shape
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Im2col:
    """``cols[b·ro·co, taps·channels] = the patch of x under each output pixel``, or its transpose, channels first."""

    window: Window | PatchWindow
    dtype: StorageName
    order: Order = "channels-last"

    @property
    def name(self) -> str:
        return "im2col"

    def parameters(self) -> tuple[Parameter, ...]:
        window = patch_window(self.window)
        return (
            Parameter("x", image_shape(window, self.order), "in"),
            Parameter("cols", column_shape(window, self.order), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window, x = patch_window(self.window), to_channels_last(self.order, arrays["x"])
        patches = seen(spread(x, window.rows, window.columns), window.rows, window.columns)
        if self.order == "channels-first":
            patches = patches.reshape(-1, window.taps, window.channels).transpose(2, 1, 0)
        arrays["cols"][...] = patches.reshape(arrays["cols"].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = patch_window(self.window)
        plan, order = _plan_im2col(self, core_group.processor), self.order
        part, items = plan.part, plan.items

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            patches = patches_seen(tiles_last(order, ins[0]), part.kernel, part.stride, part.dilation)
            if order == "channels-first":
                patches = patches.transpose(0, 5, 3, 4, 1, 2)
            outs[0].reshape(patches.shape)[...] = patches

        body = _gather(part, order)
        for source, target in plan.boxes:
            cycles = stream_cycles(cpe=core_group.cpe, body=body, elements=prod(target.size))
            items.stream(
                core_group,
                self.name,
                inputs=[source.operand(arguments["x"])],
                outputs=[target.operand(_column_blocks(arguments["cols"], window, order))],
                cycles=cycles,
                run=run,
            )


@dataclass(frozen=True, eq=False)
class _Im2colPlan:
    """The items, the part of the window that each sees at a time, and its boxes in the images and in the columns."""

    items: Items
    part: PatchWindow
    boxes: tuple[tuple[Boxes, Boxes], ...]


@lru_cache(maxsize=64)
def _plan_im2col(kernel: Im2col, processor: ProcessorSpec) -> _Im2colPlan:
    """The whole window at once or, channels first, one row of taps after the other: what is estimated to be faster.

    All taps of a large window leave room for few pixels; their runs are short then. Raises InfeasiblePlan if neither
    fits the LDM.
    """
    whole = patch_window(kernel.window).rows.taps
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
    window, order = patch_window(kernel.window), kernel.order
    part = replace(window, rows=replace(window.rows, taps=tap_rows))

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        pixels = under(part.rows, plan.rows), under(part.columns, plan.columns)
        return (
            _image_box(window, order, pixels, plan.channels),
            _column_box(window, order, (plan.rows, plan.columns), plan.channels, taps=part.taps),
        )

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.rows.outputs,
        columns=window.columns.outputs,
        channels=window.channels,
        multiple=1,
        item_bytes=STORAGE[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    image, columns = boxes(items.plan)
    (down, across), left = window.stride, -window.columns.before

    def of(first: int) -> tuple[Boxes, Boxes]:
        """The boxes for the taps from row ``first`` on."""
        above = first * window.rows.dilation - window.rows.before
        return (
            items.boxes(
                image.size, lambda o: image_index(order, o[0], o[1] * down + above, o[2] * across + left, o[3])
            ),
            items.boxes(columns.size, lambda o: _in_columns(order, *o, tap=first * window.columns.taps)),
        )

    return _Im2colPlan(items, part, tuple(of(first) for first in range(0, window.rows.taps, tap_rows)))


@dataclass(frozen=True)
class Col2im:
    """``x = sum of the patches in cols back onto their pixels``: the adjoint of :class:`Im2col`."""

    window: Window | PatchWindow
    dtype: DTypeName
    order: Order = "channels-last"

    @property
    def name(self) -> str:
        return "col2im"

    def parameters(self) -> tuple[Parameter, ...]:
        window = patch_window(self.window)
        return (
            Parameter("cols", column_shape(window, self.order), "in"),
            Parameter("x", image_shape(window, self.order), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window, cols = patch_window(self.window), arrays["cols"]
        if self.order == "channels-first":
            cols = cols.reshape(window.channels, window.taps, -1).transpose(2, 1, 0)
        patches = cols.reshape(*window.outputs, -1)
        before = window.rows.before, window.columns.before
        x = to_channels_last(self.order, arrays["x"])
        x[...] = col2im(patches, window.image, window.kernel, window.stride, before, window.dilation)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window, order = patch_window(self.window), self.order
        plan, cols, x = _plan_col2im(self, core_group.processor), arguments["cols"], arguments["x"]
        gather, target = _gather(window, order), plan.target.operand(x)
        body = Body(loads=gather.loads + 1, stores=1, arithmetic=gather.arithmetic + 1)
        for number, (part, source) in enumerate(zip(plan.parts, plan.sources, strict=True)):
            columns = source.operand(_column_blocks(cols, window, order))
            plan.items.stream(
                core_group,
                self.name,
                inputs=[columns, target] if number else [columns],
                outputs=[target],
                cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=prod(source.size)),
                run=partial(self._add, plan.items.plan, part),
                flops=prod(window.outputs) * part.taps * window.channels,
            )

    def _add(self, plan: ItemPlan, part: PatchWindow, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """Add the columns of some taps to what earlier ones gave, if there were any."""
        rows, columns = patched(part.rows, plan.rows), patched(part.columns, plan.columns)
        counts, cols = (rows.count, columns.count), ins[0]
        if self.order == "channels-first":
            cols = cols.reshape(len(cols), plan.channels, part.taps, *counts).transpose(0, 3, 4, 2, 1)
        patches = cols.reshape(len(cols), *counts, *part.kernel, plan.channels)
        outs[0][...] = ins[1] if len(ins) == 2 else 0
        images = tiles_last(self.order, outs[0])
        add_patches(images, patches, part.stride, (-rows.ahead, -columns.ahead), part.dilation)


@dataclass(frozen=True, eq=False)
class _Col2imPlan:
    """The items, what each puts of the images, and for the taps that come at a time what it gets of the columns."""

    items: Items
    target: Boxes
    parts: tuple[PatchWindow, ...]
    sources: tuple[Boxes, ...]


@lru_cache(maxsize=64)
def _plan_col2im(kernel: Col2im, processor: ProcessorSpec) -> _Col2imPlan:
    """All taps at once; if those of one pixel do not fit the LDM, one row of them after the other, or each by itself.

    Raises InfeasiblePlan if a single one does not fit.
    """
    rows, columns = patch_window(kernel.window).kernel
    try:
        return _plan_taps(kernel, processor, (rows, columns))
    except InfeasiblePlan:
        if rows * columns == 1:
            raise
    try:
        return _plan_taps(kernel, processor, (1, columns))
    except InfeasiblePlan:
        return _plan_taps(kernel, processor, (1, 1))


def _plan_taps(kernel: Col2im, processor: ProcessorSpec, taps: tuple[int, int]) -> _Col2imPlan:
    """The items if a block of ``taps``, which divide the window's, is added at a time."""
    window, order = patch_window(kernel.window), kernel.order
    starts = tuple(product(*(range(0, all_, some) for all_, some in zip(window.kernel, taps, strict=True))))
    parts = tuple(
        replace(
            window,
            rows=window.rows.of_taps(slice(row, row + taps[0])),
            columns=window.columns.of_taps(slice(column, column + taps[1])),
        )
        for row, column in starts
    )

    def column_box(part: PatchWindow, plan: ItemPlan) -> ItemBox:
        counts = patched(part.rows, plan.rows).count, patched(part.columns, plan.columns).count
        return _column_box(window, order, counts, plan.channels, taps=part.taps)

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ...]:
        largest = max((column_box(part, plan) for part in parts), key=lambda box: box.elements)
        image = _image_box(window, order, (plan.rows, plan.columns), plan.channels)
        return (largest, image) if len(parts) == 1 else (largest, image, image)

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=window.rows.inputs,
        columns=window.columns.inputs,
        channels=window.channels,
        multiple=window.stride,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    (down, across), plan = window.stride, items.plan

    def source(part: PatchWindow, start: tuple[int, ...]) -> Boxes:
        first_row, first_column = patched(part.rows, plan.rows).first, patched(part.columns, plan.columns).first
        tap = start[0] * window.columns.taps + start[1]
        return items.boxes(
            column_box(part, plan).size,
            lambda o: _in_columns(order, o[0], o[1] // down + first_row, o[2] // across + first_column, o[3], tap=tap),
        )

    target = items.boxes(boxes(plan)[1].size, lambda o: image_index(order, *o))
    return _Col2imPlan(items, target, parts, tuple(map(source, parts, starts)))


def patch_window(window: Window | PatchWindow) -> PatchWindow:
    """The window by rows and columns."""
    return window if isinstance(window, PatchWindow) else PatchWindow.of(window)


def image_shape(window: PatchWindow, order: Order) -> Shape:
    """The images."""
    rows, columns = window.rows.inputs, window.columns.inputs
    return ordered_shape(order, batch=window.batch, rows=rows, columns=columns, channels=window.channels)


def column_shape(window: Window | PatchWindow, order: Order) -> tuple[int, int]:
    """The columns as a matrix."""
    patches = patch_window(window)
    pixels, depth = prod(patches.outputs), patches.taps * patches.channels
    return (pixels, depth) if order == "channels-last" else (depth, pixels)


def _column_blocks(cols: MemoryArray, window: PatchWindow, order: Order) -> MemoryArray:
    """The column matrix seen by sample, output row, output column, tap and channel."""
    return cols.reshape(*_block_shape(window, order))


def _block_shape(window: PatchWindow, order: Order) -> Shape:
    if order == "channels-last":
        return *window.outputs, window.taps, window.channels
    return window.channels, window.taps, *window.outputs


def _image_box(window: PatchWindow, order: Order, pixels: tuple[int, int], channels: int) -> ItemBox:
    """Pixels of one image."""
    size = ordered_shape(order, batch=1, rows=pixels[0], columns=pixels[1], channels=channels)
    return ItemBox(size, image_shape(window, order))


def _column_box(window: PatchWindow, order: Order, pixels: tuple[int, int], channels: int, *, taps: int) -> ItemBox:
    """``taps`` taps of output pixels of one image."""
    size = (1, *pixels, taps, channels) if order == "channels-last" else (channels, taps, 1, *pixels)
    return ItemBox(size, _block_shape(window, order))


def _in_columns(
    order: Order, sample: Integers, row: Integers, column: Integers, channel: Integers, *, tap: int = 0
) -> tuple[Integers, ...]:
    """A place as indices of the blocks of columns, from ``tap`` on."""
    taps = np.full_like(sample, tap)
    return (sample, row, column, taps, channel) if order == "channels-last" else (channel, taps, sample, row, column)


def _gather(window: PatchWindow, order: Order) -> Body:
    """A vector of a patch: along the channels as it lies; along a row of pixels from between two vectors, or singly."""
    if order == "channels-last":
        return Body(loads=1, stores=1)
    if window.columns.stride == 1:
        return Body(loads=2, stores=1, arithmetic=1)
    return Body(loads=4, stores=1, arithmetic=3)
