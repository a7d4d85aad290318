"""Row convolution over blocks of steps and channels, each with the steps that its taps reach beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, column_blocks, stream
from nnlib.kernels.window import MISSING, ItemBox, ItemPlan, Items, plan_items
from nnlib.ops.row_convolution import row_convolution_backward, row_convolution_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray, Shape
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Pass: TypeAlias = Literal["forward", "input_gradient", "weight_gradient"]


@dataclass(frozen=True, kw_only=True)
class RowConvolution:
    """``y[t] = Σ_j weight[j]·x[t + j]`` by channel, or a gradient of it; sequences (B, T, C), ``weight`` (taps, C).

    ``masked``: with ``lengths`` (B, 1), past which ``x`` counts as 0 and ``y`` is 0.
    """

    batch: int
    steps: int
    channels: int
    taps: int
    dtype: DTypeName
    towards: Pass = "forward"
    masked: bool = False

    @property
    def name(self) -> str:
        return "row_convolution" if self.towards == "forward" else f"row_convolution_{self.towards}"

    @property
    def arrays(self) -> tuple[tuple[str, ...], str]:
        """Inputs and output."""
        return {
            "forward": (("x", "weight"), "y"),
            "input_gradient": (("grad_y", "weight"), "grad_x"),
            "weight_gradient": (("x", "grad_y"), "grad_weight"),
        }[self.towards]

    def parameters(self) -> tuple[Parameter, ...]:
        inputs, output = self.arrays
        sequences, matrix = (self.batch, self.steps, self.channels), (self.taps, self.channels)

        def shape(name: str) -> Shape:
            return matrix if name.endswith("weight") else sequences

        found = [Parameter(name, shape(name), "in", common=name == "weight") for name in inputs]
        if self.masked:
            found.append(Parameter("lengths", (self.batch, 1), "in"))
        return (*found, Parameter(output, shape(output), "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        lengths = arrays["lengths"][:, 0].astype(np.int64) if self.masked else None
        if self.towards == "forward":
            arrays["y"][...] = row_convolution_forward(arrays["x"], arrays["weight"], lengths=lengths)
            return
        grad = arrays["grad_y"]
        # of the two gradients each needs only one of x and the weights
        x = arrays.get("x", grad)
        weight = arrays.get("weight", np.zeros((self.taps, self.channels), dtype=grad.dtype))
        by_x, by_weight = row_convolution_backward(x, weight, grad, lengths=lengths)
        arrays[self.arrays[1]][...] = by_x if self.towards == "input_gradient" else by_weight

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """A block of channels after the other. Raises InfeasiblePlan if one channel's taps do not fit."""
        item, taps = DTYPES[self.dtype].itemsize, self.taps
        blocks = column_blocks(
            self.channels,
            # weights or their sums, one or two arrays of steps twice, one with all that taps reach, and lengths
            needed=lambda width: 3 * aligned(taps * width * item) + 2 * aligned(width * item) + 2 * aligned(item),
            kernel=self.name,
            processor=core_group.processor,
        )
        for channels in blocks:
            Channels(kernel=self, core_group=core_group, arguments=arguments, channels=channels).run()


class Channels:
    """The work on a block of channels."""

    def __init__(self, *, kernel: RowConvolution, core_group: CoreGroup, arguments: Arguments, channels: range) -> None:
        self.kernel, self.core_group, self.arguments, self.channels = kernel, core_group, arguments, channels
        self.width, self.reach = len(channels), kernel.taps - 1
        self.dtype = DTYPES[kernel.dtype]
        sums = kernel.towards == "weight_gradient"
        self.weight = core_group.alloc(
            "weight", size=(kernel.taps, self.width), dtype=self.dtype, split=None if sums else Split()
        )
        self.items = self.plan(core_group.processor)

    def plan(self, processor: ProcessorSpec) -> Items:
        """Blocks of steps of each sample, beside the weights."""
        kernel = self.kernel
        shape = (kernel.batch, kernel.steps, self.width)

        def boxes(plan: ItemPlan) -> list[ItemBox]:
            lengths = [ItemBox((1, 1), (kernel.batch, 1))] if kernel.masked else []
            moved = [ItemBox((1, plan.rows + reach, self.width), shape) for reach in (self.reach, 0)]
            return [*moved, *lengths]

        return plan_items(
            kernel=kernel.name,
            batch=kernel.batch,
            rows=kernel.steps,
            columns=1,
            channels=1,
            multiple=1,
            item_bytes=self.dtype.itemsize,
            boxes=boxes,
            processor=processor,
            resident=self.core_group.ldm.used,
        )

    def run(self) -> None:
        """Stream the blocks of steps; the weights stay, or their sums gather, in the LDM."""
        kernel, group, rows = self.kernel, self.core_group, self.items.plan.rows
        sums = kernel.towards == "weight_gradient"
        if sums:
            self.clear()
        else:
            group.wait(group.get(self.weight, self.arguments["weight"], (0, self.channels.start)))
        names, output = kernel.arrays
        wide, before = rows + self.reach, self.reach if kernel.towards == "input_gradient" else 0
        inputs = [self.operand(self.arguments[names[0]], wide, before)]
        if sums:
            inputs.append(self.operand(self.arguments["grad_y"], rows, 0))
        if kernel.masked:
            of_sample = self.items.boxes((1, 1), lambda o: (o[0], np.zeros_like(o[0])))
            inputs.append(of_sample.operand(self.arguments["lengths"]))

        def numerics(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            arrays = [each[:, 0] for each in ins]
            if kernel.masked:
                first, lengths = self.items.origins(iteration)[1][:, None], arrays.pop()
                arrays = [
                    np.where((first - shift + np.arange(each.shape[1]) < lengths)[:, :, None], each, 0)
                    for each, shift in zip(arrays, (before, 0), strict=False)
                ]
            found = self.convolved(*arrays)
            if not sums:
                if kernel.masked:
                    found = np.where((first + np.arange(rows) < lengths)[:, :, None], found, 0)
                outs[0][:, 0] = found

        taps = kernel.taps
        body = Body(loads=2 * taps, stores=1, arithmetic=taps + 2 * kernel.masked)
        if sums:
            body = Body(loads=1 + 2 * taps, stores=taps, arithmetic=taps + 2 * kernel.masked)
        elements = rows * self.width
        stream(
            group,
            kernel.name,
            iterations=self.items.iterations,
            whole=self.items.whole,
            period=self.items.period,
            inputs=inputs,
            outputs=[] if sums else [self.operand(self.arguments[output], rows, 0)],
            cycles=self.items.cycles(stream_cycles(cpe=group.cpe, body=body, elements=elements)),
            run_at=numerics,
            flops=2 * taps * kernel.batch * kernel.steps * self.width,
            resident=[self.weight],
            accumulators=[self.weight] if sums else [],
        )
        if sums:
            self.add_over_mesh()
        group.free(self.weight)

    def operand(self, array: MemoryArray, rows: int, before: int) -> Operand:
        """An item's block of steps, from ``before`` steps before its first one."""
        start = self.channels.start
        boxes = self.items.boxes((1, rows, self.width), lambda o: (o[0], o[1] - before, np.full_like(o[0], start)))
        return boxes.operand(array)

    def convolved(self, x: Array, grad: Array | None = None) -> Array:
        """A block's outputs (items, steps, width); of the weight gradient the sums are where they gather."""
        weight, rows = self.weight.values(), self.items.plan.rows
        if grad is not None:
            for tap in range(self.kernel.taps):
                weight[:, tap] += np.einsum("itc,itc->ic", x[:, tap : tap + rows], grad)
            return grad
        taps = range(self.kernel.taps)
        places = taps if self.kernel.towards == "forward" else [self.reach - tap for tap in taps]
        found = np.zeros((len(x), rows, self.width), dtype=x.dtype)
        for tap, first in zip(taps, places, strict=True):
            found += weight[tap] * x[:, first : first + rows]
        return found

    def clear(self) -> None:
        """Sums of nothing."""

        def run() -> None:
            self.weight.values()[...] = 0

        cycles = self.pass_cycles(Body(stores=1))
        self.core_group.compute("clear partial sums", cycles=cycles, writes=[self.weight], run=run)

    def pass_cycles(self, body: Body) -> float:
        """Of a loop over the weights."""
        elements = self.kernel.taps * self.width
        return stream_cycles(cpe=self.core_group.cpe, body=body, elements=elements)

    def add_over_mesh(self) -> None:
        """Along the rows to column 0, along column 0 to CPE (0, 0), which puts the result."""
        group = self.core_group
        rows, columns = group.mesh
        one = self.pass_cycles(Body(loads=1, stores=1, arithmetic=1))
        total: Tile = self.weight

        def run() -> None:
            total.values()[0] = total.values().sum(axis=0)

        group.row_broadcast("add along rows")
        in_column = [(columns - 1) * one if place % columns == 0 else 0.0 for place in range(group.cpes)]
        group.compute("add along rows", cycles=in_column, reads=[total], writes=[total])
        group.column_broadcast("add along column 0")
        at_root = [(rows - 1) * one if place == 0 else 0.0 for place in range(group.cpes)]
        group.compute("add along column 0", cycles=at_root, reads=[total], writes=[total], run=run)
        starts = np.full((group.cpes, 2), MISSING)
        starts[0] = (0, self.channels.start)
        group.wait(group.put(total, self.arguments["grad_weight"], starts))
