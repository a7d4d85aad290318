"""The weight gradient of the image-size-aware plan: tiles of weights, one per tap of a kernel row, summed over pixels.

For each kernel row the gradient of the output and the source rows under it stream by once; each mesh GEMM multiplies
output channels × pixels by pixels × input channels into the sums of one tap.
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
from nnlib.kernels.implicit.image_order import OUTSIDE, Images
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan
from nnlib.kernels.kernel import Arguments
from nnlib.precision import DTYPES
from sim.chip.dma import Integers
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer


@dataclass(frozen=True)
class Place:
    """Where the program is: group, blocks of output and input channels, kernel row, blocks of images, rows, columns."""

    group: int
    outputs: int
    inputs: int
    kernel_row: int
    images: int
    row: int
    column: int


class WeightProgram:
    """State of the tile program."""

    def __init__(self, task: ImagePass, plan: ImagePlan, core_group: CoreGroup, arguments: Arguments) -> None:
        self.task, self.plan, self.core_group, mesh = task, plan, core_group, core_group.mesh
        self.generation = GENERATIONS[task.library]
        self.converts = task.converts(core_group.processor.mesh)
        self.columns, self.rows = task.column_blocks(plan), task.row_blocks(plan, mesh[0])
        self.x, self.y = task.images(plan.order)
        grad_weight = arguments["grad_weight"]
        groups = task.convolution.groups
        self.target_array = grad_weight.reshape(
            *grad_weight.shape[:2], groups, grad_weight.shape[2] // groups, grad_weight.shape[3]
        )

        def operand(name: str, images: Images, channels: int, columns: int) -> Operand:
            return Operand(
                core_group,
                name,
                arguments[name].reshape(*images.grouped_shape),
                images.box_size(images=plan.images, channels=channels, columns=columns),
                converts=self.converts,
                arrange=lambda boxes: images.gather(boxes).reshape(*mesh, columns, plan.images, channels),
            )

        self.grad_y = operand("grad_y", self.y, plan.target_channels, plan.columns)
        self.source = operand("x", self.x, plan.source_channels, self.columns.source_width)
        self.targets = {
            tap.tap: core_group.alloc(
                f"tap{tap.tap}", size=(1, 1, 1, plan.target_channels, plan.source_channels), dtype=grad_weight.dtype
            )
            for tap in self.columns.of_taps
        }
        self.sums: dict[int, Array] = {}
        cpe = np.arange(core_group.cpes, dtype=np.int64)
        self.mesh_row, self.mesh_column = cpe // mesh[1], cpe % mesh[1]

    @cached_property
    def counts(self) -> tuple[int, int, int]:
        """Blocks of output channels, of input channels and of images."""
        plan, (rows, columns) = self.plan, self.core_group.mesh
        inputs, outputs = self.task.channels
        images = plan.images * (rows if plan.spread == "images" else 1)
        return (
            -(-outputs // (plan.target_channels * rows)),
            -(-inputs // (plan.source_channels * columns)),
            -(-self.y.stored_batch // images),
        )

    def run(self) -> None:
        group, convolution = self.core_group, self.task.convolution
        first = self.place_from(Place(0, 0, 0, 0, 0, 0, 0))
        if first is not None:
            self.fetch(first)
        puts: list[Transfer] = []
        for channel_group in group.loop("groups", convolution.groups):
            for outputs in group.loop("output channels", self.counts[0]):
                for inputs in group.loop("input channels", self.counts[1]):
                    for kernel_row in group.loop("kernel rows", convolution.kr):
                        group.wait(*puts)
                        self.clear()
                        place = Place(channel_group, outputs, inputs, kernel_row, 0, 0, 0)
                        self.sum_up(place)
                        puts = [self.put(place, tap, tile) for tap, tile in self.targets.items()]
        group.wait(*puts)
        self.grad_y.free()
        self.source.free()
        group.free(*self.targets.values())

    def sum_up(self, place: Place) -> None:
        """Everything that goes into the sums of a kernel row."""
        group, blocks = self.core_group, self.blocks(place.kernel_row)
        steady = self.rows.steady_of_tap(blocks, place.kernel_row)
        # the last block of images may be ragged, and the one before it fetches that
        for images in group.loop("images", self.counts[2], steady=range(max(0, self.counts[2] - 2))):
            for row in group.loop("rows", len(blocks), steady=steady):
                for column in group.loop("columns", self.columns.blocks, steady=self.columns.steady):
                    self.step(replace(place, images=images, row=row, column=column))

    def blocks(self, kernel_row: int) -> tuple[RowBlock, ...]:
        """The blocks of output rows to which a kernel row brings any source row."""
        return tuple(block for blocks in self.rows.classes for block in blocks if kernel_row in block.taps)

    def after(self, place: Place) -> Iterator[Place]:
        """The places behind ``place`` in the order of the loops, those without rows included."""
        convolution = self.task.convolution
        first = replace(place, images=0, row=0, column=0)
        if place.column + 1 < self.columns.blocks:
            yield replace(place, column=place.column + 1)
        if place.row + 1 < len(self.blocks(place.kernel_row)):
            yield replace(place, row=place.row + 1, column=0)
        if place.images + 1 < self.counts[2]:
            yield replace(first, images=place.images + 1)
        for kernel_row in range(place.kernel_row + 1, convolution.kr):
            yield replace(first, kernel_row=kernel_row)
        first = replace(first, kernel_row=0)
        for inputs in range(place.inputs + 1, self.counts[1]):
            yield from self.kernel_rows(replace(first, inputs=inputs))
        first = replace(first, inputs=0)
        for outputs in range(place.outputs + 1, self.counts[0]):
            yield from self.kernel_rows(replace(first, outputs=outputs))
        for group in range(place.group + 1, convolution.groups):
            yield from self.kernel_rows(replace(first, outputs=0, group=group))

    def kernel_rows(self, place: Place) -> Iterator[Place]:
        for kernel_row in range(self.task.convolution.kr):
            yield replace(place, kernel_row=kernel_row)

    def place_from(self, place: Place) -> Place | None:
        """``place`` if there is anything to sum up, or else the next one where there is."""
        if self.blocks(place.kernel_row):
            return place
        return self.place_after(place)

    def place_after(self, place: Place) -> Place | None:
        return next((each for each in self.after(place) if self.blocks(each.kernel_row)), None)

    def step(self, place: Place) -> None:
        """One block of pixels: a GEMM for each tap of the kernel row, the next block on its way."""
        self.grad_y.arrive()
        self.source.arrive()
        following = self.place_after(place)
        if following is not None:
            self.fetch(following)
        left = self.columns.left(place.column)
        for tap in self.columns.of_taps:
            self.multiply(place, tap, left)

    def fetch(self, place: Place) -> None:
        """Start the transfers of a block of pixels."""
        block, plan, (rows, columns) = self.blocks(place.kernel_row)[place.row], self.plan, self.core_group.mesh
        by_rows = plan.spread == "rows"
        none = np.zeros_like(self.mesh_row)

        def image(part: Integers) -> Integers:
            each = part if not by_rows else none
            return (place.images * (1 if by_rows else rows) + each) * plan.images

        # the product's k is divided over the mesh's columns for the first factor and over its rows for the second
        self.grad_y.fetch(
            self.y.starts(
                image=image(self.mesh_column),
                group=place.group,
                channel=(place.outputs * rows + self.mesh_row) * plan.target_channels,
                row=self.rows.targets(block)[self.mesh_column if by_rows else none],
                column=place.column * plan.columns,
            )
        )
        self.source.fetch(
            self.x.starts(
                image=image(self.mesh_row),
                group=place.group,
                channel=(place.inputs * columns + self.mesh_column) * plan.source_channels,
                row=self.rows.sources(block, place.kernel_row)[self.mesh_row if by_rows else none],
                column=self.columns.first_source(place.column),
            )
        )

    def clear(self) -> None:
        """Set the sums of all taps to zero."""
        rows, columns = self.core_group.mesh
        plan = self.plan
        shape = rows * plan.target_channels, columns * plan.source_channels
        tiles = list(self.targets.values())

        def run() -> None:
            self.sums = {tap: np.zeros(shape, dtype=tile.dtype) for tap, tile in self.targets.items()}

        elements = sum(tile.bytes_per_cpe // tile.dtype.itemsize for tile in tiles)
        cycles = stream_cycles(cpe=self.core_group.cpe, body=Body(stores=1), elements=elements)
        self.core_group.compute("clear sums", cycles=cycles, writes=tiles, run=run)

    def multiply(self, place: Place, tap: TapColumns, left: int) -> None:
        """Add one tap's product."""
        plan, tile = self.plan, self.targets[tap.tap]
        k = left * plan.images
        wide = DTYPES["fp64"] if self.converts else None

        def outputs(parts: Array) -> Array:
            used = parts[:, :, :left].transpose(0, 4, 1, 2, 3)
            return used.reshape(used.shape[0] * used.shape[1], -1)

        def inputs(parts: Array) -> Array:
            used = parts[:, :, tap.sources(left)].transpose(0, 2, 3, 1, 4)
            return used.reshape(-1, used.shape[3] * used.shape[4])

        a = self.grad_y.matrix(size=(plan.target_channels, k), take=outputs)
        b = self.source.matrix(size=(k, plan.source_channels), take=inputs)
        c = matrix_of(
            tile, size=(plan.target_channels, plan.source_channels), dtype=wide, take=lambda: self.sums[tap.tap]
        )
        self.core_group.mesh_gemm(
            "gemm", c=c, a=a, b=b, flops=self.useful_flops(place, left), schedule=self.generation.schedule,
            k_step_residual=self.generation.k_step_residual(self.core_group.timed),
        )  # fmt: skip
        tile.state = c.state

    def put(self, place: Place, tap: int, tile: Tile) -> Transfer:
        """Send a tap's sums to memory."""
        plan, (rows, columns) = self.plan, self.core_group.mesh
        if self.core_group.numerics:
            sums = self.sums[tap].reshape(rows, plan.target_channels, columns, plan.source_channels)
            tile.data = np.ascontiguousarray(sums.transpose(0, 2, 1, 3)).reshape(tile.shape)
        same = np.ones_like(self.mesh_row)
        start = (
            place.kernel_row * same,
            tap * same,
            place.group * same,
            (place.outputs * rows + self.mesh_row) * plan.target_channels,
            (place.inputs * columns + self.mesh_column) * plan.source_channels,
        )
        return self.core_group.put(tile, self.target_array, np.stack(start, axis=1))

    def useful_flops(self, place: Place, left: int) -> int:
        """Of what is inside the arrays."""
        plan, (rows, columns) = self.plan, self.core_group.mesh

        def rest(length: int, number: int, part: int) -> int:
            return max(0, min(part, length - number * part))

        inputs, outputs = self.task.channels
        block = self.blocks(place.kernel_row)[place.row]
        met = int(np.count_nonzero(self.rows.sources(block, place.kernel_row) != OUTSIDE))
        images = rest(self.task.convolution.batch, place.images, plan.images * (1 if plan.spread == "rows" else rows))
        m = rest(outputs, place.outputs, plan.target_channels * rows)
        n = rest(inputs, place.inputs, plan.source_channels * columns)
        return 2 * met * left * images * m * n
