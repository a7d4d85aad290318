"""Forward and input gradient of the image-size-aware plan.

For each block of output pixels, the source rows of its taps and the weights come one after the other, the next ones
while one tap's mesh GEMM of pixels × source channels by source channels × target channels runs. The sums stay in the
LDM until the block is put. The input gradient is the same with the images' roles exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.generations import GENERATIONS
from nnlib.kernels.implicit.image_blocks import RowBlock, TapColumns
from nnlib.kernels.implicit.image_operand import Operand, matrix_of
from nnlib.kernels.implicit.image_order import OUTSIDE
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan
from nnlib.kernels.kernel import Arguments
from nnlib.precision import DTYPES
from sim.chip.dma import Integers
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer


@dataclass(frozen=True)
class Block:
    """A tile of the output: group, block of its channels, block of images, of rows in a class, and of columns."""

    group: int
    channels: int
    images: int
    row_class: int
    row: int
    column: int


@dataclass(frozen=True)
class _Step:
    """One tap's GEMM: ``first`` of those that use a source tile, which is ``source`` of the source channels' blocks."""

    block: Block
    source: int
    kernel_row: int
    columns: TapColumns
    first: bool


class PixelProgram:
    """State of the tile program."""

    def __init__(self, task: ImagePass, plan: ImagePlan, core_group: CoreGroup, arguments: Arguments) -> None:
        self.task, self.plan, self.core_group = task, plan, core_group
        self.generation = GENERATIONS[task.library]
        self.converts = task.converts(core_group.processor.mesh)
        mesh = core_group.mesh
        self.columns, self.rows = task.column_blocks(plan), task.row_blocks(plan, mesh[0])
        x, y = task.images(plan.order)
        backward = task.which == "input_gradient"
        self.source_images, self.target_images = (y, x) if backward else (x, y)
        names = ("grad_y", "weight", "grad_x") if backward else ("x", "weight", "y")
        source, weight, target = (arguments[name] for name in names)
        groups = task.convolution.groups
        weight = weight.reshape(*weight.shape[:2], groups, weight.shape[2] // groups, weight.shape[3])
        self.target_array = target.reshape(*self.target_images.grouped_shape)
        kk, nn = plan.source_channels, plan.target_channels
        self.source = Operand(
            core_group,
            "source",
            source.reshape(*self.source_images.grouped_shape),
            self.source_images.box_size(images=plan.images, channels=kk, columns=self.columns.source_width),
            converts=self.converts,
            arrange=self.assemble_source,
        )
        self.weight = Operand(
            core_group,
            "weight",
            weight,
            (1, 1, 1, kk, nn) if backward else (1, 1, 1, nn, kk),
            converts=self.converts,
            arrange=self.assemble_weight,
        )
        self.targets = [
            core_group.alloc(
                f"target{i}",
                size=self.target_images.box_size(images=plan.images, channels=nn, columns=plan.columns),
                dtype=target.dtype,
            )
            for i in range(plan.put_buffers)
        ]
        self.puts: list[Transfer | None] = [None] * plan.put_buffers
        self.current = 0
        self.sums = np.empty(0)
        cpe = np.arange(core_group.cpes, dtype=np.int64)
        self.mesh_row, self.mesh_column = cpe // mesh[1], cpe % mesh[1]

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """Blocks of source channels, of target channels and of images."""
        plan, (rows, columns) = self.plan, self.core_group.mesh
        source, target = self.task.channels
        images = plan.images * (rows if plan.spread == "images" else 1)
        return (
            -(-source // (plan.source_channels * columns)),
            -(-target // (plan.target_channels * columns)),
            -(-self.source_images.stored_batch // images),
        )

    def run(self) -> None:
        group, classes = self.core_group, self.rows.classes
        start = self.first_step_from(Block(0, 0, 0, 0, 0, 0))
        if start is not None:
            self.source.fetch(self.source_start(start))
            self.weight.fetch(self.weight_start(start))
        for channel_group in group.loop("groups", self.task.convolution.groups):
            # the last block may be ragged, and the one before it fetches that
            for channels in group.loop("channels", self.counts[1], steady=range(max(0, self.counts[1] - 2))):
                for images in group.loop("images", self.counts[2], steady=range(max(0, self.counts[2] - 2))):
                    for row_class, blocks in enumerate(classes):
                        for row in group.loop("rows", len(blocks), steady=self.rows.steady(blocks)):
                            for column in group.loop("columns", self.columns.blocks, steady=self.columns.steady):
                                self.compute(Block(channel_group, channels, images, row_class, row, column))
        group.wait(*(put for put in self.puts if put is not None))
        self.source.free()
        self.weight.free()
        group.free(*self.targets)

    def steps(self, block: Block) -> Iterator[_Step]:
        """A block's GEMMs in order."""
        left = self.columns.left(block.column)
        taps = [each for each in self.columns.of_taps if each.count(left)]
        for source in range(self.counts[0]):
            for kernel_row in self.row_block(block).taps:
                for number, columns in enumerate(taps):
                    yield _Step(block, source, kernel_row, columns, number == 0)

    def row_block(self, block: Block) -> RowBlock:
        return self.rows.classes[block.row_class][block.row]

    def first_step_from(self, block: Block | None) -> _Step | None:
        """The first step of ``block`` or of the next one that has any."""
        while block is not None:
            step = next(self.steps(block), None)
            if step is not None:
                return step
            block = self.after(block)
        return None

    def after(self, block: Block) -> Block | None:
        """The next block in the order of the loops."""
        classes = self.rows.classes
        if block.column + 1 < self.columns.blocks:
            return replace(block, column=block.column + 1)
        if block.row + 1 < len(classes[block.row_class]):
            return replace(block, row=block.row + 1, column=0)
        if block.row_class + 1 < len(classes):
            return replace(block, row_class=block.row_class + 1, row=0, column=0)
        first = replace(block, row_class=0, row=0, column=0)
        if block.images + 1 < self.counts[2]:
            return replace(first, images=block.images + 1)
        if block.channels + 1 < self.counts[1]:
            return replace(first, images=0, channels=block.channels + 1)
        if block.group + 1 < self.task.convolution.groups:
            return replace(first, images=0, channels=0, group=block.group + 1)
        return None

    def compute(self, block: Block) -> None:
        """All GEMMs of a block, the next ones' operands on their way; then put it."""
        self.clear()
        steps = list(self.steps(block))
        following = self.after(block)
        steps_after = [self.first_step_from(following)] if following is not None else []
        upcoming = [*steps, *(step for step in steps_after if step is not None)]
        for number, step in enumerate(steps):
            rest = upcoming[number + 1 :]
            if step.first:
                self.source.arrive()
            self.weight.arrive()
            if rest:
                self.weight.fetch(self.weight_start(rest[0]))
            if step.first:
                next_source = next((each for each in rest if each.first), None)
                if next_source is not None:
                    self.source.fetch(self.source_start(next_source))
            self.multiply(step)
        self.put(block)

    def clear(self) -> None:
        """Set the block's sums to zero, once their buffer is free."""
        tile, put = self.targets[self.current], self.puts[self.current]
        if put is not None:
            self.core_group.wait(put)
            self.puts[self.current] = None
        elements = tile.bytes_per_cpe // tile.dtype.itemsize
        cycles = stream_cycles(cpe=self.core_group.cpe, body=Body(stores=1), elements=elements)

        def run() -> None:
            rows, columns = self.core_group.mesh
            plan = self.plan
            self.sums = np.zeros((rows, plan.columns, plan.images, columns * plan.target_channels), dtype=tile.dtype)

        self.core_group.compute("clear sums", cycles=cycles, writes=[tile], run=run)

    def multiply(self, step: _Step) -> None:
        """One mesh GEMM: the pixels of a tap, all images of the block."""
        plan, tile = self.plan, self.targets[self.current]
        left = self.columns.left(step.block.column)
        m = step.columns.count(left) * plan.images
        k, n = plan.source_channels, plan.target_channels
        sources, targets = step.columns.sources(left), step.columns.targets(left)
        wide = DTYPES["fp64"] if self.converts else None
        a = self.source.matrix(size=(m, k), take=lambda all: all[:, sources].reshape(-1, all.shape[-1]))
        b = self.weight.matrix(size=(k, n), take=lambda all: all)
        c = matrix_of(
            tile, size=(m, n), dtype=wide, take=lambda: self.sums[:, targets].reshape(-1, self.sums.shape[-1])
        )
        self.core_group.mesh_gemm(
            "gemm", c=c, a=a, b=b, flops=self.useful_flops(step), schedule=self.generation.schedule,
            k_step_residual=self.generation.k_step_residual(self.core_group.timed),
        )  # fmt: skip
        tile.state = c.state
        if self.core_group.numerics:
            into = self.sums[:, targets]
            into[...] = c.values().reshape(into.shape)

    def put(self, block: Block) -> None:
        """Send the block's sums to memory."""
        tile = self.targets[self.current]
        if self.core_group.numerics:
            rows, columns = self.core_group.mesh
            parts = self.sums.reshape(rows, *self.sums.shape[1:3], columns, -1).transpose(0, 3, 1, 2, 4)
            tile.data = np.ascontiguousarray(self.target_images.scatter(parts.reshape(-1, *parts.shape[2:])))
        start = self.target_images.starts(
            image=self.image(block),
            group=block.group,
            channel=(block.channels * self.core_group.mesh[1] + self.mesh_column) * self.plan.target_channels,
            row=self.rows.targets(self.row_block(block))[self.row_index],
            column=block.column * self.plan.columns,
        )
        self.puts[self.current] = self.core_group.put(tile, self.target_array, start)
        self.current = (self.current + 1) % len(self.targets)

    @property
    def row_index(self) -> Integers:
        """Which of the rows side by side each CPE has."""
        return self.mesh_row if self.plan.spread == "rows" else np.zeros_like(self.mesh_row)

    def image(self, block: Block) -> Integers:
        """The first image of each CPE."""
        images = self.plan.images
        if self.plan.spread == "images":
            return (block.images * self.core_group.mesh[0] + self.mesh_row) * images
        return np.full_like(self.mesh_row, block.images * images)

    def source_start(self, step: _Step) -> Integers:
        block = step.block
        return self.source_images.starts(
            image=self.image(block),
            group=block.group,
            channel=(step.source * self.core_group.mesh[1] + self.mesh_column) * self.plan.source_channels,
            row=self.rows.sources(self.row_block(block), step.kernel_row)[self.row_index],
            column=self.columns.first_source(block.column),
        )

    def weight_start(self, step: _Step) -> Integers:
        """The mesh's rows divide the source channels, its columns the target channels."""
        plan, (rows, columns) = self.plan, self.core_group.mesh
        source = (step.source * rows + self.mesh_row) * plan.source_channels
        target = (step.block.channels * columns + self.mesh_column) * plan.target_channels
        channels = (source, target) if self.task.which == "input_gradient" else (target, source)
        same = np.ones_like(source)
        return np.stack([step.kernel_row * same, step.columns.tap * same, step.block.group * same, *channels], axis=1)

    def assemble_source(self, boxes: Array) -> Array:
        """Boxes (CPEs, *size) as (mesh rows, columns, images, channels of all mesh columns)."""
        rows, columns = self.core_group.mesh
        parts = self.source_images.gather(boxes)
        parts = parts.reshape(rows, columns, *parts.shape[1:]).transpose(0, 2, 3, 1, 4)
        return parts.reshape(*parts.shape[:3], -1)

    def assemble_weight(self, boxes: Array) -> Array:
        """Boxes (CPEs, *size) as (source channels, target channels)."""
        rows, columns = self.core_group.mesh
        parts = boxes.reshape(rows, columns, *boxes.shape[4:])
        if self.task.which != "input_gradient":
            parts = parts.swapaxes(2, 3)
        return parts.transpose(0, 2, 1, 3).reshape(rows * parts.shape[2], -1)

    def useful_flops(self, step: _Step) -> int:
        """Of what is inside the arrays."""
        block, plan, (rows, columns) = step.block, self.plan, self.core_group.mesh

        def left(length: int, number: int, part: int) -> int:
            return max(0, min(part, length - number * part))

        source, target = self.task.channels
        side_by_side = rows if plan.spread == "images" else 1
        row_block = self.row_block(block)
        met = int(np.count_nonzero(self.rows.sources(row_block, step.kernel_row) != OUTSIDE))
        pixels = met * step.columns.count(self.columns.left(block.column))
        images = left(self.task.convolution.batch, block.images, plan.images * side_by_side)
        k = left(source, step.source, plan.source_channels * columns)
        n = left(target, block.channels, plan.target_channels * columns)
        return 2 * pixels * images * k * n
