"""The nest of the batch-size-aware plan for the weight gradient.

Gradients of some rows of taps stay in the LDM while all pixels pass by: for a block of columns of ``grad_y``, row by
row, each pixel of ``x`` is loaded, turned so that vectors lie along its channels, and multiplied by every pixel of
``grad_y`` that a tap brings it to. No publication describes this pass; it mirrors the nest of the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit.image_operand import cycles_to_convert
from nnlib.kernels.implicit.implicit_batch_plan import FP64, WeightPlan, converts
from nnlib.kernels.implicit.implicit_batch_tiles import MATRIX, TURNED, as_wide, convert
from nnlib.kernels.implicit.pixel_view import group_matrix
from nnlib.kernels.kernel import Arguments
from nnlib.precision import DTYPES, DTypeName
from sim.chip.pipeline.streaming import Body, stream_cycles, transpose_cycles

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer


@dataclass(frozen=True)
class _Gradient:
    """What is held in the LDM: of one group first output and input channel, and rows of taps."""

    group: int
    out: int
    channel: int
    taps: range


@dataclass(frozen=True)
class _Block:
    """Pixels that pass by: columns of ``grad_y`` of some images, for a gradient."""

    gradient: _Gradient
    image: int
    columns: range


@dataclass(frozen=True)
class _Pixel:
    """A pixel of ``x`` for a row of taps."""

    block: _Block
    tap: int
    row: int
    column: int


def run(
    core_group: CoreGroup,
    arguments: Arguments,
    *,
    convolution: Convolution,
    plan: WeightPlan,
    dtype: DTypeName,
    library: Library,
    schedule: str | None = None,
) -> None:
    """The tile program; ``schedule`` of the micro-kernel, if not the library's."""
    _Program(core_group, arguments, convolution, plan, dtype, library, schedule).run()


class _Program:
    """State of the tile program."""

    def __init__(
        self,
        core_group: CoreGroup,
        arguments: Arguments,
        convolution: Convolution,
        plan: WeightPlan,
        dtype: DTypeName,
        library: Library,
        schedule: str | None,
    ) -> None:
        self.core_group, self.convolution, self.plan = core_group, convolution, plan
        self.x, self.grad_y, self.grad_weight = (arguments[name] for name in ("x", "grad_y", "grad_weight"))
        self.rows = Taps.of(convolution, "weight_gradient", "rows")
        self.columns = Taps.of(convolution, "weight_gradient", "columns")
        generation = GENERATIONS[library]
        self.schedule = schedule or generation.schedule
        self.residual = 0.0 if schedule else generation.k_step_residual(core_group.timed)
        mesh_rows, mesh_columns = core_group.mesh
        self.extent = plan.outs * mesh_rows, plan.ins * mesh_columns, plan.batch * mesh_rows
        alloc, kind = core_group.alloc, DTYPES[dtype]
        self.pixels = [
            alloc(f"x{buffer}", size=(plan.ins, plan.batch), dtype=kind, split=TURNED) for buffer in range(2)
        ]
        self.converts = converts(dtype=dtype, library=library, mesh=core_group.processor.mesh)
        wide = FP64 if self.converts else kind
        self.turned = alloc("x_turned", size=(plan.batch, plan.ins), dtype=wide, split=MATRIX)
        self.grads = [
            alloc(f"grad_y{column}", size=(plan.outs, plan.batch), dtype=kind, split=MATRIX)
            for column in range(plan.columns)
        ]
        self.sums = [
            [
                alloc(f"grad_weight{row}.{column}", size=(plan.outs, plan.ins), dtype=kind, split=MATRIX)
                for column in range(convolution.kc)
            ]
            for row in range(plan.taps)
        ]
        self.wide_grads = [
            alloc(f"grad_y_fp64.{column}", size=(plan.outs, plan.batch), dtype=FP64, split=MATRIX)
            for column in range(plan.columns if self.converts else 0)
        ]
        self.pixel = 0  # buffer of the pixel in use

    def gradients(self) -> list[_Gradient]:
        convolution, plan = self.convolution, self.plan
        return [
            _Gradient(group, out, channel, range(tap, min(tap + plan.taps, convolution.kr)))
            for group, out, channel, tap in product(
                range(convolution.groups),
                range(0, convolution.group_no, self.extent[0]),
                range(0, convolution.group_ni, self.extent[1]),
                range(0, convolution.kr, plan.taps),
            )
        ]

    def blocks(self, gradient: _Gradient) -> list[_Block]:
        width, part = self.columns.targets, self.plan.columns
        return [
            _Block(gradient, image, range(first, min(first + part, width)))
            for image, first in product(range(0, self.convolution.batch, self.extent[2]), range(0, width, part))
        ]

    def hits(self, block: _Block, column: int) -> list[tuple[int, int]]:
        """(tap, place in the block) of the columns of ``grad_y`` to which a column of ``x`` is brought."""
        found = self.columns.targets_of(column)
        return [(tap, target - block.columns.start) for tap, target in found if target in block.columns]

    def passing(self, block: _Block, row: int) -> list[_Pixel]:
        """The pixels of ``x`` that a row of ``grad_y`` meets, in order."""
        used = sorted({source for column in block.columns for _, source in self.columns.sources_of(column)})
        return [
            _Pixel(block, tap, source, column)
            for tap, source in self.rows.sources_of(row)
            if tap in block.gradient.taps
            for column in used
        ]

    def later(self, blocks: Sequence[_Block], number: int, row: int) -> Iterator[_Pixel]:
        """The first pixel after a row of a block, within a gradient; none at its end."""
        places = [(number, later) for later in range(row + 1, self.rows.targets)]
        places += [(later, row) for later in range(number + 1, len(blocks)) for row in range(self.rows.targets)]
        for block, later_row in places:
            pixels = self.passing(blocks[block], later_row)
            if pixels:
                yield pixels[0]
                return

    def run(self) -> None:
        """Gradient after gradient."""
        group, gradients = self.core_group, self.gradients()
        for number in group.loop("gradients", len(gradients)):
            self.accumulate(gradients[number])
            self.put(gradients[number])
        group.free(*self.pixels, self.turned, *self.grads, *(tile for row in self.sums for tile in row))
        group.free(*self.wide_grads)

    def accumulate(self, gradient: _Gradient) -> None:
        """Let all pixels pass by."""
        group, plan = self.core_group, self.plan
        sums = [tile for row in self.sums for tile in row]

        def zero() -> None:
            for tile in sums:
                tile.values()[...] = 0

        elements = len(sums) * plan.outs * plan.ins
        cycles = stream_cycles(cpe=group.cpe, body=Body(stores=1), elements=elements)
        group.compute("clear", cycles=cycles, writes=sums, run=zero)
        blocks = self.blocks(gradient)
        first = next(self.later(blocks, 0, -1), None)
        if first is not None:
            group.wait(self.fetch(first))
            self.pixel = 1 - self.pixel
        inner = self.rows.steady
        steady = range(inner.start, max(inner.start, inner.stop - 1))
        for number in group.loop("blocks", len(blocks)):
            for row in group.loop("rows", self.rows.targets, steady=steady):
                self.row(blocks, number, row)

    def row(self, blocks: Sequence[_Block], number: int, row: int) -> None:
        """Load a row of ``grad_y`` and multiply it by what it meets of ``x``."""
        group, block = self.core_group, blocks[number]
        pixels = self.passing(block, row)
        if not pixels:
            return
        gradient = block.gradient
        gets = [
            group.get(
                self.grads[place],
                group_matrix(self.grad_y, (row, column), group=gradient.group, rows=self.convolution.group_no),
                (gradient.out, block.image),
            )
            for place, column in enumerate(block.columns)
        ]
        group.wait(*gets)
        if self.converts:
            for raw, wide in zip(self.grads[: len(block.columns)], self.wide_grads, strict=False):
                convert(group, raw, wide)
        for pixel, after in zip(pixels, [*pixels[1:], next(self.later(blocks, number, row), None)], strict=True):
            coming: Transfer | None = None if after is None else self.fetch(after)
            self.turn()
            for tap, place in self.hits(block, pixel.column):
                self.multiply(pixel, tap, place)
            if coming is not None:
                group.wait(coming)
                self.pixel = 1 - self.pixel

    def fetch(self, pixel: _Pixel) -> Transfer:
        """Start the transfer of a pixel into the other buffer."""
        gradient, rows = pixel.block.gradient, self.convolution.group_ni
        matrix = group_matrix(self.x, (pixel.row, pixel.column), group=gradient.group, rows=rows)
        return self.core_group.get(self.pixels[1 - self.pixel], matrix, (gradient.channel, pixel.block.image))

    def turn(self) -> None:
        """Turn the pixel (channels, batch) inside the LDM, so that vectors lie along channels."""
        group, source, target = self.core_group, self.pixels[self.pixel], self.turned

        def run() -> None:
            target.values()[...] = source.values().T

        elements = self.plan.ins * self.plan.batch
        cycles: float = transpose_cycles(cpe=group.cpe, elements=elements)
        if self.converts:
            cycles += cycles_to_convert(cpe=group.cpe, elements=elements)
        group.compute("turn x", cycles=cycles, reads=[source], writes=[target], run=run)

    def multiply(self, pixel: _Pixel, tap: int, place: int) -> None:
        """Gradient of the tap += pixel of ``grad_y`` × pixel of ``x``, summed over the images."""
        gradient, convolution, (outs, ins, batch) = pixel.block.gradient, self.convolution, self.extent
        useful = (
            min(outs, convolution.group_no - gradient.out)
            * min(ins, convolution.group_ni - gradient.channel)
            * min(batch, convolution.batch - pixel.block.image)
        )
        sums = self.sums[pixel.tap - gradient.taps.start][tap]
        self.core_group.mesh_gemm(
            "product",
            c=as_wide(sums) if self.converts else sums,
            a=(self.wide_grads or self.grads)[place],
            b=self.turned,
            flops=2 * useful,
            schedule=self.schedule,
            k_step_residual=self.residual,
        )

    def put(self, gradient: _Gradient) -> None:
        """Put the gradients that are held."""
        group, rows = self.core_group, self.convolution.group_no
        puts = []
        for row, tap in enumerate(gradient.taps):
            for column, tile in enumerate(self.sums[row]):
                matrix = group_matrix(self.grad_weight, (tap, column), group=gradient.group, rows=rows)
                puts.append(group.put(tile, matrix, (gradient.out, gradient.channel)))
        group.wait(*puts)
