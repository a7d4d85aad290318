"""Depthwise convolution of integers: sums of 32 bits for every channel by itself, made narrow integers at once.

Means of windows are such convolutions too, with weights of 1 and the number of pixels in the multiplier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.convolutions.patch_window import PatchWindow, under
from nnlib.kernels.fixed.fixed_point import begin_counts, end_counts, requantise_instructions
from nnlib.kernels.fixed.integer_sum import COUNTS
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, plan_items
from nnlib.ops.patches import patches_seen, seen, spread
from nnlib.precision.fixed import Integers as Narrow
from nnlib.precision.formats import STORAGE, IntegerName
from nnlib.precision.integer import requantise, sums_of
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array, Shape
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class IntegerDepthwise:
    """``y = round((Σ over taps of x · weight + bias) · multiplier)`` channel by channel, with sums of 32 bits.

    ``bias`` is in units of the sums; ``multiplier`` is the step of the sums over the step of y. ``relu``: negative
    results become 0. ``clipped``: what does not fit above is cut off on purpose. ``saturated`` counts sums that left
    32 bits, and results that did not fit.
    """

    window: PatchWindow
    dtype: IntegerName
    relu: bool = False
    clipped: bool = False

    @property
    def name(self) -> str:
        return "integer_depthwise"

    @property
    def outputs(self) -> Shape:
        """Images of results, channels last."""
        return *self.window.outputs, self.window.channels

    def parameters(self) -> tuple[Parameter, ...]:
        """x, weights, bias, multiplier, y and the counts."""
        window = self.window
        return (
            Parameter("x", window.image, "in"),
            Parameter("weight", (window.taps, window.channels), "in"),
            Parameter("bias", (window.channels,), "in", dtype="int32"),
            Parameter("multiplier", (window.channels,), "in", dtype="fp64"),
            Parameter("y", self.outputs, "out"),
            Parameter("saturated", (COUNTS,), "out", dtype="int32"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By whole arrays."""
        window = self.window
        patches = seen(spread(arrays["x"], window.rows, window.columns), window.rows, window.columns)
        wide = patches.reshape(*window.outputs, window.taps, window.channels).astype(np.float64)
        exact = (wide * arrays["weight"].astype(np.float64)).sum(axis=-2)
        y, counts = self.narrow(exact, arrays["bias"], arrays["multiplier"])
        arrays["y"][...], arrays["saturated"][...] = y, counts

    def narrow(self, exact: Array, bias: Array, multiplier: Array) -> tuple[Narrow, tuple[int, int]]:
        """Integers of exact sums, and the counts."""
        sums = sums_of(np.asarray(exact, dtype=np.float64), bias.astype(np.int32))
        y, outside = requantise(sums.values, multiplier, self.dtype, relu=self.relu, clipped=self.clipped)
        return y, (sums.overflows, outside)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if what one output meets does not fit the LDM."""
        window, group = self.window, core_group
        plan = _plan(self, group.processor)
        counts = begin_counts(group, COUNTS)

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, weights, bias, multiplier = ins
            patches = patches_seen(x[:, 0].astype(np.float64), window.kernel, window.stride, window.dilation)
            wide, exact = weights.astype(np.float64)[:, :, None, None], np.zeros(outs[0][:, 0].shape)
            for number, (i, j) in enumerate(product(*map(range, window.kernel))):
                exact += patches[:, :, :, i, j] * wide[:, number]
            # the bias is the sums' where there is an output, and nothing counts where there is none
            real = plan.real(iteration, exact.shape, self.outputs)
            y, found = self.narrow(exact * real, bias[:, None, None] * real, multiplier[:, None, None])
            outs[0][:, 0] = y
            counts.values()[0] += found

        fixed, elements = group.cpe.fixed_point, prod(plan.written.size)
        widen = fixed.widen_instructions(8 * STORAGE[self.dtype].itemsize)
        of_tap = Body(loads=2, arithmetic=2 * widen + fixed.multiply_add_instructions)
        end = Body(loads=2, stores=1, arithmetic=1 + requantise_instructions(group, self.dtype, relu=self.relu))
        cpe = group.cpe
        vectors = -(-elements // fixed.vector_lanes) * window.taps
        cycles = stream_cycles(cpe=cpe, body=of_tap, elements=vectors * cpe.vector_lanes)
        cycles += stream_cycles(cpe=cpe, body=end, elements=elements)
        plan.items.stream(
            group,
            self.name,
            inputs=[boxes.operand(arguments[name]) for name, boxes in plan.read.items()],
            outputs=[plan.written.operand(arguments["y"])],
            cycles=cycles,
            run_at=run_at,
            accumulators=[counts],
        )
        end_counts(group, counts, arguments["saturated"])


@dataclass(frozen=True, eq=False)
class _Plan:
    """Items of outputs, their boxes in what is read and in what is written."""

    items: Items
    read: Mapping[str, Boxes]
    written: Boxes

    def real(self, iteration: int, size: Shape, outputs: Shape) -> Array:
        """1 where an item's output is one, 0 beyond the image and for a CPE without an item."""
        found = np.ones(size)
        origins = self.items.origins(iteration)
        found *= (origins[0] < outputs[0])[:, None, None, None]
        for axis in (1, 2, 3):
            inside = origins[axis][:, None] + np.arange(size[axis]) < outputs[axis]
            found *= inside.reshape(len(inside), *(size[axis] if each == axis else 1 for each in (1, 2, 3)))
        return found


@lru_cache(maxsize=256)
def _plan(kernel: IntegerDepthwise, processor: ProcessorSpec) -> _Plan:
    window, item = kernel.window, STORAGE[kernel.dtype].itemsize
    rows, columns = window.rows, window.columns

    def sizes(plan: ItemPlan) -> tuple[Shape, Shape, Shape]:
        pixels = under(rows, plan.rows), under(columns, plan.columns)
        return (
            (1, *pixels, plan.channels),
            (window.taps, plan.channels),
            (1, plan.rows, plan.columns, plan.channels),
        )

    def boxes(plan: ItemPlan) -> list[ItemBox]:
        arrays = window.image, (window.taps, window.channels), kernel.outputs
        # numbers of 4 and 8 bytes as so many of the integers
        wide = [ItemBox((size // item * plan.channels,), (size // item * window.channels,)) for size in (4, 8)]
        return [*map(ItemBox, sizes(plan), arrays), *wide]

    items = plan_items(
        kernel=kernel.name,
        batch=window.batch,
        rows=rows.outputs,
        columns=columns.outputs,
        channels=window.channels,
        multiple=1,
        item_bytes=item,
        boxes=boxes,
        processor=processor,
        resident=aligned(4 * COUNTS),
    )
    pixels, weights, outputs = sizes(items.plan)
    (down, across), above, left = window.stride, rows.before, columns.before
    channels = (items.plan.channels,)

    def of_channels(o: Integers) -> Sequence[Integers]:
        # a CPE without an item gets nothing
        return (np.where(o[0] < window.batch, o[3], window.channels),)

    return _Plan(
        items,
        {
            "x": items.boxes(pixels, lambda o: (o[0], o[1] * down - above, o[2] * across - left, o[3])),
            "weight": items.boxes(weights, lambda o: (np.zeros_like(o[3]), *of_channels(o))),
            "bias": items.boxes(channels, of_channels),
            "multiplier": items.boxes(channels, of_channels),
        },
        items.boxes(outputs, tuple),
    )
