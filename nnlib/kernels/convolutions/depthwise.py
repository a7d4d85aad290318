"""Depthwise convolution: every channel by itself, images (B, H, W, C) under weights (kh, kw, 1, C).

There is no matrix product in it: an item is a block of pixels and channels, as in pooling, and a CPE multiplies what it
sees by the weights of its channels. Weight gradients are added up by every CPE in its LDM, then over the mesh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from nnlib.kernels.convolutions.convolution import Pass
from nnlib.kernels.convolutions.patch_window import PatchWindow, patched, under
from nnlib.kernels.kernel import Arguments, Kernel, Parameter
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, plan_items
from nnlib.ops.depthwise import convolve, input_gradient, weight_gradient
from nnlib.ops.patches import col2im, patches_seen
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.memory import Array, MemoryArray, Shape
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Side: TypeAlias = Literal["outputs", "pixels"]
"""Of what the items are blocks."""


@dataclass(frozen=True)
class DepthwiseForward:
    """``y`` = the sum over the taps of what each output meets of ``x``, times the tap's weight of the channel."""

    window: PatchWindow
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "depthwise"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", self.window.image, "in"),
            Parameter("weight", weight_shape(self.window), "in", common=True),
            Parameter("y", output_shape(self.window), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By the operations of the host."""
        rows, columns = self.window.rows, self.window.columns
        convolve(arrays["x"], arrays["weight"], None, rows, columns, out=arrays["y"])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if what one output meets does not fit the LDM."""
        window = self.window
        plan = _plan(self.name, window, self.dtype, "outputs", core_group.processor)
        body = Body(loads=2 * window.taps, stores=1, arithmetic=window.taps)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            patches = patches_seen(ins[0][:, 0], window.kernel, window.stride, window.dilation)
            weights, y = ins[1][:, :, None, None], outs[0][:, 0]
            y[...] = 0
            for number, (i, j) in enumerate(product(*map(range, window.kernel))):
                y += patches[:, :, :, i, j] * weights[:, number]

        plan.items.stream(
            core_group,
            self.name,
            inputs=[plan.pixels.operand(arguments["x"]), plan.weights.operand(_by_tap(arguments["weight"], window))],
            outputs=[plan.outputs.operand(arguments["y"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=prod(plan.outputs.size)),
            run=run,
            flops=_flops(window),
        )


@dataclass(frozen=True)
class DepthwiseInputGradient:
    """``grad_x`` = for each pixel the sum over the taps and outputs that met it."""

    window: PatchWindow
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "depthwise_input_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("grad_y", output_shape(self.window), "in"),
            Parameter("weight", weight_shape(self.window), "in", common=True),
            Parameter("grad_x", self.window.image, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By the operations of the host."""
        rows, columns = self.window.rows, self.window.columns
        arrays["grad_x"][...] = input_gradient(arrays["grad_y"], arrays["weight"], rows, columns)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: an item gets all outputs that reach it.

        Raises InfeasiblePlan if those of a single pixel do not fit the LDM.
        """
        window = self.window
        plan = _plan(self.name, window, self.dtype, "pixels", core_group.processor)
        rows, columns, channels = plan.pixels.size[1:]
        ahead = patched(window.rows, rows).ahead, patched(window.columns, columns).ahead
        body = Body(loads=2 * window.taps + 1, stores=window.taps, arithmetic=window.taps)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            grad, weights = ins[0][:, 0], ins[1].reshape(-1, 1, 1, *window.kernel, channels)
            patches = grad[:, :, :, None, None] * weights
            shape = (len(grad), rows, columns, channels)
            outs[0][:, 0] = col2im(patches, shape, window.kernel, window.stride, ahead, window.dilation)

        plan.items.stream(
            core_group,
            self.name,
            inputs=[
                plan.outputs.operand(arguments["grad_y"]),
                plan.weights.operand(_by_tap(arguments["weight"], window)),
            ],
            outputs=[plan.pixels.operand(arguments["grad_x"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=prod(plan.outputs.size)),
            run=run,
            flops=_flops(window),
        )


@dataclass(frozen=True)
class DepthwiseWeightGradient:
    """``grad_weight`` = the sum over all outputs of what they meet of ``x``, times their gradient."""

    window: PatchWindow
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "depthwise_weight_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("grad_y", output_shape(self.window), "in"),
            Parameter("x", self.window.image, "in"),
            Parameter("grad_weight", weight_shape(self.window), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By the operations of the host."""
        rows, columns = self.window.rows, self.window.columns
        arrays["grad_weight"][...] = weight_gradient(arrays["grad_y"], arrays["x"], rows, columns)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program, one block of channels after the other. Raises InfeasiblePlan as the forward pass does."""
        window = self.window
        plan = _plan(self.name, window, self.dtype, "outputs", core_group.processor)
        width = plan.items.plan.channels
        for first in range(0, window.channels, width):
            self.add(core_group, arguments, plan.of_channels(first), first, width)

    def add(self, core_group: CoreGroup, arguments: Arguments, plan: _Plan, first: int, width: int) -> None:
        """The gradient by the weights of ``width`` channels."""
        window, cpe = self.window, core_group.cpe
        partial = core_group.alloc("partial", size=(window.taps, width), dtype=DTYPES[self.dtype])

        def clear() -> None:
            partial.values()[...] = 0

        def run(ins: Sequence[Array], _: Sequence[Array]) -> None:
            patches = patches_seen(ins[1][:, 0], window.kernel, window.stride, window.dilation)
            grad, sums = ins[0][:, 0], partial.values()
            for number, (i, j) in enumerate(product(*map(range, window.kernel))):
                sums[:, number] += (patches[:, :, :, i, j] * grad).sum(axis=(1, 2))

        cleared = stream_cycles(cpe=cpe, body=Body(stores=1), elements=window.taps * width)
        core_group.compute("clear partial sums", cycles=cleared, writes=[partial], run=clear)
        body = Body(loads=2 * window.taps + 1, stores=window.taps, arithmetic=window.taps)
        plan.items.stream(
            core_group,
            self.name,
            inputs=[plan.outputs.operand(arguments["grad_y"]), plan.pixels.operand(arguments["x"])],
            outputs=[],
            cycles=stream_cycles(cpe=cpe, body=body, elements=prod(plan.outputs.size)),
            run=run,
            flops=_flops(window) if first == 0 else 0,
            accumulators=[partial],
        )
        _add_over_mesh(core_group, partial, _by_tap(arguments["grad_weight"], window), first)
        core_group.free(partial)


def depthwise_kernel(window: PatchWindow, which: Pass, dtype: DTypeName) -> Kernel:
    """The kernel of a pass."""
    match which:
        case "forward":
            return DepthwiseForward(window, dtype)
        case "input_gradient":
            return DepthwiseInputGradient(window, dtype)
        case "weight_gradient":
            return DepthwiseWeightGradient(window, dtype)


def weight_shape(window: PatchWindow) -> Shape:
    """A weight for every tap and channel."""
    return *window.kernel, 1, window.channels


def output_shape(window: PatchWindow) -> Shape:
    """Outputs, channels last."""
    return *window.outputs, window.channels


def _by_tap(weight: MemoryArray, window: PatchWindow) -> MemoryArray:
    return weight.reshape(window.taps, window.channels)


def _flops(window: PatchWindow) -> int:
    return 2 * window.taps * prod(output_shape(window))


def _add_over_mesh(core_group: CoreGroup, partial: Tile, total: MemoryArray, first: int) -> None:
    """All CPEs' sums (taps, channels) along the rows and column 0 of the mesh to CPE (0, 0), which puts them."""
    mesh_rows, mesh_columns = core_group.mesh
    body = Body(loads=1, stores=1, arithmetic=1)
    one = stream_cycles(cpe=core_group.cpe, body=body, elements=prod(partial.size))
    result = core_group.alloc("total", size=partial.size, dtype=partial.dtype)

    def collect() -> None:
        result.values()[...] = 0
        result.values()[0] = partial.values().sum(axis=0)

    core_group.row_broadcast("add along rows")
    in_column = [0.0 if place % mesh_columns else (mesh_columns - 1) * one for place in range(core_group.cpes)]
    core_group.compute("add along rows", cycles=in_column, reads=[partial])
    core_group.column_broadcast("add along column 0")
    at_root = [0.0 if place else (mesh_rows - 1) * one for place in range(core_group.cpes)]
    core_group.compute("add along column 0", cycles=at_root, reads=[partial], writes=[result], run=collect)
    # only CPE (0, 0) has its place inside the array
    starts = np.full((core_group.cpes, 2), total.shape)
    starts[0] = 0, first
    core_group.wait(core_group.put(result, total, starts))
    core_group.free(result)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Items and their boxes among the pixels, the outputs and the weights."""

    items: Items
    pixels: Boxes
    outputs: Boxes
    weights: Boxes

    def of_channels(self, first: int) -> _Plan:
        """The items of the block of channels from ``first`` on."""
        batch, rows, columns, _ = self.items.counts
        items = Items(
            plan=self.items.plan, counts=(batch, rows, columns, 1), cpes=self.items.cpes, seconds=self.items.seconds
        )

        def moved(boxes: Boxes) -> Boxes:
            def place(origins: Integers) -> Sequence[Integers]:
                return boxes.place(origins + np.array([0, 0, 0, first])[:, None])

            return items.boxes(boxes.size, place)

        return _Plan(items, moved(self.pixels), moved(self.outputs), moved(self.weights))


@lru_cache(maxsize=256)
def _plan(name: str, window: PatchWindow, dtype: DTypeName, side: Side, processor: ProcessorSpec) -> _Plan:
    """Blocks of outputs with the pixels that they meet, or of pixels with the outputs that reach them."""
    rows, columns = window.rows, window.columns

    def sizes(plan: ItemPlan) -> tuple[Shape, Shape, Shape]:
        block = plan.rows, plan.columns
        if side == "outputs":
            outputs, pixels = block, (under(rows, block[0]), under(columns, block[1]))
        else:
            outputs, pixels = (patched(rows, block[0]).count, patched(columns, block[1]).count), block
        return (1, *pixels, plan.channels), (1, *outputs, plan.channels), (window.taps, plan.channels)

    def boxes(plan: ItemPlan) -> list[ItemBox]:
        arrays = window.image, output_shape(window), (window.taps, window.channels)
        return [ItemBox(size, array) for size, array in zip(sizes(plan), arrays, strict=True)]

    of_outputs = side == "outputs"
    items = plan_items(
        kernel=name,
        batch=window.batch,
        rows=rows.outputs if of_outputs else rows.inputs,
        columns=columns.outputs if of_outputs else columns.inputs,
        channels=window.channels,
        multiple=1 if of_outputs else window.stride,
        item_bytes=DTYPES[dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    pixels, outputs, weights = sizes(items.plan)
    (down, across), above, left = window.stride, rows.before, columns.before

    def of_weights(o: Integers) -> Sequence[Integers]:
        # a CPE without an item has no weights either
        return np.where(o[0] < window.batch, 0, window.taps), o[3]

    if of_outputs:
        return _Plan(
            items,
            items.boxes(pixels, lambda o: (o[0], o[1] * down - above, o[2] * across - left, o[3])),
            items.boxes(outputs, lambda o: (o[0], o[1], o[2], o[3])),
            items.boxes(weights, of_weights),
        )
    first_row, first_column = patched(rows, items.plan.rows).first, patched(columns, items.plan.columns).first
    return _Plan(
        items,
        items.boxes(pixels, lambda o: (o[0], o[1], o[2], o[3])),
        items.boxes(outputs, lambda o: (o[0], o[1] // down + first_row, o[2] // across + first_column, o[3])),
        items.boxes(weights, of_weights),
    )
