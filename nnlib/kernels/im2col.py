"""im2col and its adjoint col2im: the layout transforms of a convolution as explicit GEMM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import stream
from nnlib.kernels.window import ItemBox, ItemPlan, Window, plan_items
from nnlib.ops.convolution import col2im, im2col
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline import Body, stream_cycles


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
        window, item = self.window, DTYPES[self.dtype].itemsize
        kh, kw = window.kernel

        def reach(plan: ItemPlan) -> tuple[int, int]:
            return (plan.rows - 1) * window.stride + kh, (plan.columns - 1) * window.stride + kw

        cols = _column_blocks(arguments["cols"], window)

        def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
            return (
                ItemBox((1, *reach(plan), plan.channels), arguments["x"].shape),
                ItemBox((1, plan.rows, plan.columns, window.taps, plan.channels), cols.shape),
            )

        items = plan_items(
            kernel=self.name,
            batch=window.batch,
            rows=window.out_height,
            columns=window.out_width,
            channels=window.channels,
            multiple=1,
            item_bytes=item,
            boxes=boxes,
            processor=core_group.processor,
        )
        plan = items.plan
        source = items.operand(
            arguments["x"],
            boxes(plan)[0].size,
            lambda o: (o[0], o[1] * window.stride - window.padding, o[2] * window.stride - window.padding, o[3]),
        )
        target = items.operand(
            cols,
            boxes(plan)[1].size,
            lambda o: (o[0], o[1], o[2], np.zeros_like(o[0]), o[3]),
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            patches = im2col(ins[0][:, 0], window.kernel, window.stride, 0)
            outs[0][...] = patches.reshape(outs[0].shape)

        elements = plan.rows * plan.columns * window.taps * plan.channels
        body = Body(loads=1, stores=1)
        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            inputs=[source],
            outputs=[target],
            cycles=items.cycles(stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements)),
            run=run,
        )


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
        window, item = self.window, DTYPES[self.dtype].itemsize
        (kh, kw), stride, padding = window.kernel, window.stride, window.padding

        def patches(length: int, kernel: int) -> int:
            """Output pixels whose windows touch ``length`` input pixels that begin at a multiple of the stride."""
            return (length - 1 + padding) // stride - _first(0, kernel) + 1

        def _first(origin: int, kernel: int) -> int:
            return -((kernel - 1 - origin - padding) // stride)

        columns = _column_blocks(arguments["cols"], window)

        def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
            counts = patches(plan.rows, kh), patches(plan.columns, kw)
            return (
                ItemBox((1, *counts, window.taps, plan.channels), columns.shape),
                ItemBox((1, plan.rows, plan.columns, plan.channels), arguments["x"].shape),
            )

        items = plan_items(
            kernel=self.name,
            batch=window.batch,
            rows=window.height,
            columns=window.width,
            channels=window.channels,
            multiple=stride,
            item_bytes=item,
            boxes=boxes,
            processor=core_group.processor,
        )
        plan = items.plan
        counts = patches(plan.rows, kh), patches(plan.columns, kw)
        first = _first(0, kh), _first(0, kw)
        source = items.operand(
            columns,
            boxes(plan)[0].size,
            lambda o: (o[0], o[1] // stride + first[0], o[2] // stride + first[1], np.zeros_like(o[0]), o[3]),
        )
        target = items.operand(
            arguments["x"],
            boxes(plan)[1].size,
            lambda o: (o[0], o[1], o[2], o[3]),
        )
        # where the item's first pixel lies on the canvas of its windows
        top, left = padding - first[0] * stride, padding - first[1] * stride
        canvas = (
            max((counts[0] - 1) * stride + kh, top + plan.rows),
            max((counts[1] - 1) * stride + kw, left + plan.columns),
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            cols = ins[0].reshape(len(ins[0]), *counts, window.taps * plan.channels)
            pixels = col2im(cols, (len(cols), *canvas, plan.channels), window.kernel, stride, 0)
            outs[0][:, 0] = pixels[:, top : top + plan.rows, left : left + plan.columns]

        elements = counts[0] * counts[1] * window.taps * plan.channels
        body = Body(loads=2, stores=1, arithmetic=1)
        stream(
            core_group,
            self.name,
            iterations=items.iterations,
            inputs=[source],
            outputs=[target],
            cycles=items.cycles(stream_cycles(cpe=core_group.processor.cpe, body=body, elements=elements)),
            run=run,
            flops=window.batch * window.out_height * window.out_width * window.taps * window.channels,
        )


def _image_shape(window: Window) -> tuple[int, int, int, int]:
    return window.batch, window.height, window.width, window.channels


def _column_shape(window: Window) -> tuple[int, int]:
    return window.batch * window.out_height * window.out_width, window.taps * window.channels


def _column_blocks(cols: MemoryArray, window: Window) -> MemoryArray:
    """The column matrix seen by sample, output row, output column, tap and channel."""
    return cols.reshape(window.batch, window.out_height, window.out_width, window.taps, window.channels)
