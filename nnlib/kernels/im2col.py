"""im2col and its adjoint col2im: the layout transforms of a convolution as explicit GEMM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import stream
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, Window, plan_items
from nnlib.ops.convolution import col2im, im2col, patches_seen
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline import Body, stream_cycles
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True)
class Im2col:
    """``cols[b·ro·co, taps·channels] = the patch of x under each output pixel``."""

    window: Window
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "im2col"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", _image_shape(self.window), "in"),
            Parameter("cols", _column_shape(self.window), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = self.window
        patches = im2col(arrays["x"], window.kernel, window.stride, window.padding)
        arrays["cols"][...] = patches.reshape(arrays["cols"].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = self.window
        items, source, target = _plan_im2col(self, core_group.processor)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            patches = patches_seen(ins[0][:, 0], window.kernel, window.stride)
            outs[0].reshape(patches.shape)[...] = patches

        body = Body(loads=1, stores=1)
        elements = prod(target.size)
        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            whole=items.whole,
            period=items.period,
            inputs=[source.operand(arguments["x"])],
            outputs=[target.operand(_column_blocks(arguments["cols"], window))],
            cycles=items.cycles(stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements)),
            run=run,
        )


@lru_cache(maxsize=64)
def _plan_im2col(kernel: Im2col, processor: ProcessorSpec) -> tuple[Items, Boxes, Boxes]:
    """The items, and what each gets of the images and puts of the columns."""
    window = kernel.window
    kh, kw = window.kernel

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        reach = (plan.rows - 1) * window.stride + kh, (plan.columns - 1) * window.stride + kw
        return (
            ItemBox((1, *reach, plan.channels), _image_shape(window)),
            ItemBox((1, plan.rows, plan.columns, window.taps, plan.channels), _block_shape(window)),
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
    source = items.boxes(
        image.size,
        lambda o: (o[0], o[1] * window.stride - window.padding, o[2] * window.stride - window.padding, o[3]),
    )
    return items, source, items.boxes(columns.size, lambda o: (o[0], o[1], o[2], np.zeros_like(o[0]), o[3]))


@dataclass(frozen=True)
class Col2im:
    """``x = sum of the patches in cols back onto their pixels``: the adjoint of :class:`Im2col`."""

    window: Window
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "col2im"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("cols", _column_shape(self.window), "in"),
            Parameter("x", _image_shape(self.window), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = self.window
        patches = arrays["cols"].reshape(window.batch, window.out_height, window.out_width, -1)
        arrays["x"][...] = col2im(patches, _image_shape(window), window.kernel, window.stride, window.padding)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        window = self.window
        (kh, kw), stride, padding = window.kernel, window.stride, window.padding
        items, source, target = _plan_col2im(self, core_group.processor)
        plan, counts = items.plan, source.size[1:3]
        first = _first_patch(window, kh), _first_patch(window, kw)
        # how far above and left of the item's first pixel its first window begins
        above, left = padding - first[0] * stride, padding - first[1] * stride

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            cols = ins[0].reshape(len(ins[0]), *counts, window.taps * plan.channels)
            shape = (len(cols), plan.rows, plan.columns, plan.channels)
            outs[0][:, 0] = col2im(cols, shape, window.kernel, stride, (above, left))

        elements = prod(source.size)
        body = Body(loads=2, stores=1, arithmetic=1)
        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            whole=items.whole,
            period=items.period,
            inputs=[source.operand(_column_blocks(arguments["cols"], window))],
            outputs=[target.operand(arguments["x"])],
            cycles=items.cycles(stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements)),
            run=run,
            flops=window.batch * window.out_height * window.out_width * window.taps * window.channels,
        )


@lru_cache(maxsize=64)
def _plan_col2im(kernel: Col2im, processor: ProcessorSpec) -> tuple[Items, Boxes, Boxes]:
    """The items, and what each gets of the columns and puts of the images."""
    window = kernel.window
    (kh, kw), stride = window.kernel, window.stride
    first = _first_patch(window, kh), _first_patch(window, kw)

    def patches(length: int, first: int) -> int:
        """Output pixels whose windows touch ``length`` input pixels that begin at a multiple of the stride."""
        return (length - 1 + window.padding) // stride - first + 1

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        counts = patches(plan.rows, first[0]), patches(plan.columns, first[1])
        return (
            ItemBox((1, *counts, window.taps, plan.channels), _block_shape(window)),
            ItemBox((1, plan.rows, plan.columns, plan.channels), _image_shape(window)),
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
        lambda o: (o[0], o[1] // stride + first[0], o[2] // stride + first[1], np.zeros_like(o[0]), o[3]),
    )
    return items, source, items.boxes(image.size, tuple)


def _first_patch(window: Window, kernel: int) -> int:
    """The first output pixel whose window, ``kernel`` long, touches input pixel 0."""
    return -((kernel - 1 - window.padding) // window.stride)


def _image_shape(window: Window) -> tuple[int, int, int, int]:
    return window.batch, window.height, window.width, window.channels


def _column_shape(window: Window) -> tuple[int, int]:
    return window.batch * window.out_height * window.out_width, window.taps * window.channels


def _column_blocks(cols: MemoryArray, window: Window) -> MemoryArray:
    """The column matrix seen by sample, output row, output column, tap and channel."""
    return cols.reshape(*_block_shape(window))


def _block_shape(window: Window) -> tuple[int, int, int, int, int]:
    return window.batch, window.out_height, window.out_width, window.taps, window.channels
