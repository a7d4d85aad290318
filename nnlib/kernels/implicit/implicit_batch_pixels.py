"""The nest of the batch-size-aware plan for forward and input gradient.

For a block of target columns, target row by target row, and for each row of taps: the next row's weights and the next
source pixel come while the present ones are used; a source pixel is multiplied into every target pixel of the block
that a tap brings it to. Then the target pixels are put (R-swDNN, swCNNv12).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit.implicit_batch_plan import FP64, BatchPlan, converts
from nnlib.kernels.implicit.implicit_batch_tiles import MATRIX, TURNED, as_wide, convert
from nnlib.kernels.implicit.pixel_view import group_matrix
from nnlib.kernels.kernel import Arguments
from nnlib.precision import DTYPES, DTypeName
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer


@dataclass(frozen=True)
class _Block:
    """Of one group first target channel and first image; the target columns."""

    group: int
    channel: int
    image: int
    columns: range


@dataclass(frozen=True)
class _Stage:
    """A row of taps of a target row, for some source channels: tap row, source row, first channel."""

    block: _Block
    tap: int
    row: int
    channel: int

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """Which weights it needs."""
        return self.block.group, self.block.channel, self.tap, self.channel


def run(
    core_group: CoreGroup,
    arguments: Arguments,
    *,
    convolution: Convolution,
    which: Pass,
    plan: BatchPlan,
    dtype: DTypeName,
    library: Library,
    schedule: str | None = None,
) -> None:
    """The tile program; ``schedule`` of the micro-kernel, if not the library's."""
    _Program(core_group, arguments, convolution, which, plan, dtype, library, schedule).run()


class _Program:
    """State of the tile program."""

    def __init__(
        self,
        core_group: CoreGroup,
        arguments: Arguments,
        convolution: Convolution,
        which: Pass,
        plan: BatchPlan,
        dtype: DTypeName,
        library: Library,
        schedule: str | None,
    ) -> None:
        self.core_group, self.convolution, self.plan, self.which = core_group, convolution, plan, which
        self.rows, self.columns = Taps.of(convolution, which, "rows"), Taps.of(convolution, which, "columns")
        forward = which == "forward"
        self.source = arguments["x" if forward else "grad_y"]
        self.target = arguments["y" if forward else "grad_x"]
        self.weight = arguments["weight"]
        self.targets = convolution.group_no if forward else convolution.group_ni
        self.sources = convolution.group_ni if forward else convolution.group_no
        generation = GENERATIONS[library]
        self.schedule = schedule or generation.schedule
        self.residual = 0.0 if schedule else generation.k_step_residual(core_group.timed)
        mesh_rows, mesh_columns = core_group.mesh
        self.extent = plan.target * mesh_rows, plan.source * mesh_rows, plan.batch * mesh_columns
        self.blocks = [
            _Block(group, channel, image, range(first, min(first + plan.columns, self.columns.targets)))
            for group, channel, image, first in product(
                range(convolution.groups),
                range(0, self.targets, self.extent[0]),
                range(0, convolution.batch, self.extent[2]),
                range(0, self.columns.targets, plan.columns),
            )
        ]
        self.converts = converts(dtype=dtype, library=library, mesh=core_group.processor.mesh)
        self.allocate(DTYPES[dtype])
        self.held: list[tuple[int, int, int, int] | None] = [None] * len(self.weights)
        self.current = 0  # buffer of the weights that came last
        self.pixel = 0  # buffer of the source pixel that came last

    def allocate(self, dtype: np.dtype[np.floating]) -> None:
        """The LDM buffers, which :func:`pixel_plan_bytes` counts: two of each operand, or one and its fp64 copy."""
        plan, alloc = self.plan, self.core_group.alloc
        forward = self.which == "forward"
        weight, pixel = (plan.target, plan.source) if forward else (plan.source, plan.target), (plan.source, plan.batch)
        split = MATRIX if forward else TURNED
        taps, buffers = range(self.columns.taps), range(1 if self.converts else 2)
        self.weights = [
            [alloc(f"weight{buffer}.{tap}", size=weight, dtype=dtype, split=split) for tap in taps]
            for buffer in buffers
        ]
        self.pixels = [alloc(f"source{buffer}", size=pixel, dtype=dtype, split=MATRIX) for buffer in buffers]
        self.outputs = [
            alloc(f"target{column}", size=(plan.target, plan.batch), dtype=dtype, split=MATRIX)
            for column in range(plan.columns)
        ]
        self.wide_weights: list[Tile] = []
        self.others: list[Tile] = []
        if plan.spare:
            self.others.append(alloc("spare", size=(plan.spare, plan.target, plan.batch), dtype=dtype))
        if self.converts:
            self.wide_weights = [alloc(f"weight_fp64.{tap}", size=weight, dtype=FP64, split=split) for tap in taps]
            self.wide_pixel = alloc("source_fp64", size=pixel, dtype=FP64, split=MATRIX)
            self.others.append(self.wide_pixel)

    def stages(self, block: _Block, row: int) -> list[_Stage]:
        """What makes up a target row of a block."""
        return [
            _Stage(block, tap, source, channel)
            for tap, source in self.rows.sources_of(row)
            for channel in range(0, self.sources, self.extent[1])
            if self.needed(block)
        ]

    def needed(self, block: _Block) -> range:
        """Source columns that a block loads: from the first to the last that a tap brings to it."""
        found = [
            source for column in (block.columns[0], block.columns[-1]) for _, source in self.columns.sources_of(column)
        ]
        inner = [source for column in block.columns[1:-1] for _, source in self.columns.sources_of(column)]
        every = found + inner
        if not every:
            return range(0)
        last = max(every) + 1 + (1 if self.plan.one_more else 0)
        return range(min(every), min(last, self.columns.sources))

    def used(self, block: _Block) -> Sequence[int]:
        """Of the needed columns those to load: all, or only those that are used."""
        columns = self.needed(block)
        if self.plan.one_more:
            return columns
        return [column for column in columns if self.hits(block, column)]

    def hits(self, block: _Block, source: int) -> list[tuple[int, int]]:
        """(tap, place in the block) of the target columns to which a source column is brought."""
        return [
            (tap, target - block.columns.start)
            for tap, target in self.columns.targets_of(source)
            if target in block.columns
        ]

    def later(self, number: int, row: int) -> Iterator[_Stage]:
        """The first stage after a row of a block; none at the end."""
        for next_row in range(row + 1, self.rows.targets):
            stages = self.stages(self.blocks[number], next_row)
            if stages:
                yield stages[0]
                return
        for block in self.blocks[number + 1 :]:
            for next_row in range(self.rows.targets):
                stages = self.stages(block, next_row)
                if stages:
                    yield stages[0]
                    return

    def run(self) -> None:
        """Block after block, row after row."""
        group = self.core_group
        first = next(self.later(0, -1), None)
        if first is not None:
            self.weights_come(self.fetch_weights(first))
            self.pixel_comes(self.fetch_pixel(first, self.used(first.block)[0]))
        steady = range(self.rows.steady.start, max(self.rows.steady.start, self.rows.steady.stop - self.rows.period))
        for number in group.loop("blocks", len(self.blocks)):
            for row in group.loop("rows", self.rows.targets, steady=steady, period=self.rows.period):
                self.row(number, row)
        for tiles in (*self.weights, self.pixels, self.outputs, self.wide_weights, self.others):
            group.free(*tiles)

    def row(self, number: int, row: int) -> None:
        """Compute and put a target row of a block."""
        group, block = self.core_group, self.blocks[number]
        outputs = self.outputs[: len(block.columns)]
        self.clear(outputs)
        stages = self.stages(block, row)
        following = [*stages[1:], next(self.later(number, row), None)] if stages else []
        for stage, after in zip(stages, following, strict=True):
            self.stage(stage, after)
        puts = []
        for place, column in enumerate(block.columns):
            matrix = group_matrix(self.target, (row, column), group=block.group, rows=self.targets)
            puts.append(group.put(outputs[place], matrix, (block.channel, block.image)))
            if self.plan.puts_in_turn:
                group.wait(puts.pop())
        group.wait(*puts)

    def clear(self, outputs: Sequence[Tile]) -> None:
        """Set the target pixels to zero."""

        def zero() -> None:
            for tile in outputs:
                tile.values()[...] = 0

        elements = len(outputs) * self.plan.target * self.plan.batch
        cycles = stream_cycles(cpe=self.core_group.cpe, body=Body(stores=1), elements=elements)
        self.core_group.compute("clear", cycles=cycles, writes=outputs, run=zero)

    def stage(self, stage: _Stage, after: _Stage | None) -> None:
        """Multiply a row of source pixels, while the weights and the first pixel of ``after`` come."""
        block = stage.block
        weights: list[Transfer] = []
        keeps = after is not None and self.held[self.current] == after.weights
        if after is not None and not keeps:
            weights = self.fetch_weights(after)
        columns = self.used(block)
        for index, column in enumerate(columns):
            coming: Transfer | None = None
            if index + 1 < len(columns):
                coming = self.fetch_pixel(stage, columns[index + 1])
            elif after is not None:
                coming = self.fetch_pixel(after, self.used(after.block)[0])
            for tap, place in self.hits(block, column):
                self.multiply(stage, tap, place)
            if coming is not None:
                self.pixel_comes(coming)
        if weights:
            self.weights_come(weights)

    def fetch_weights(self, stage: _Stage) -> list[Transfer]:
        """Start the transfers of a stage's weights into the buffer that is free."""
        buffer, block = (self.current + 1) % len(self.weights), stage.block
        self.held[buffer] = stage.weights
        start = (block.channel, stage.channel) if self.which == "forward" else (stage.channel, block.channel)
        return [
            self.core_group.get(
                tile,
                group_matrix(self.weight, (stage.tap, tap), group=block.group, rows=self.convolution.group_no),
                start,
            )
            for tap, tile in enumerate(self.weights[buffer])
        ]

    def fetch_pixel(self, stage: _Stage, column: int) -> Transfer:
        """Start the transfer of a source pixel into the buffer that is free."""
        buffer = (self.pixel + 1) % len(self.pixels)
        matrix = group_matrix(self.source, (stage.row, column), group=stage.block.group, rows=self.sources)
        return self.core_group.get(self.pixels[buffer], matrix, (stage.channel, stage.block.image))

    def weights_come(self, transfers: Sequence[Transfer]) -> None:
        """Wait for weights: they are in use from now on."""
        self.core_group.wait(*transfers)
        self.current = (self.current + 1) % len(self.weights)
        for raw, wide in zip(self.weights[self.current], self.wide_weights, strict=False):
            convert(self.core_group, raw, wide)

    def pixel_comes(self, transfer: Transfer) -> None:
        """Wait for a source pixel: it is in use from now on."""
        self.core_group.wait(transfer)
        self.pixel = (self.pixel + 1) % len(self.pixels)
        if self.converts:
            convert(self.core_group, self.pixels[self.pixel], self.wide_pixel)

    def multiply(self, stage: _Stage, tap: int, place: int) -> None:
        """Target pixel += weights of the tap × source pixel."""
        block, (target, source, batch) = stage.block, self.extent
        useful = (
            min(target, self.targets - block.channel)
            * min(source, self.sources - stage.channel)
            * min(batch, self.convolution.batch - block.image)
        )
        self.core_group.mesh_gemm(
            "product",
            c=as_wide(self.outputs[place]) if self.converts else self.outputs[place],
            a=(self.wide_weights or self.weights[self.current])[tap],
            b=self.wide_pixel if self.converts else self.pixels[self.pixel],
            transpose_a=self.which != "forward",
            flops=2 * useful,
            schedule=self.schedule,
            k_step_residual=self.residual,
        )
