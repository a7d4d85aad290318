"""The frame of attention programs: blocks of rows that stay, blocks of columns that pass by, the next ones' transfers
under the compute.

Rows are queries and columns keys, or, for the gradients by keys and values, the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.attention.attention_plan import MATRIX, AttentionPlan, Blocks, Buffer, Layout, by_mesh_rows
from nnlib.kernels.attention.attention_shape import AttentionShape, Head, Hidden
from nnlib.kernels.generations import GENERATIONS
from nnlib.kernels.kernel import Arguments
from nnlib.kernels.pointwise.dropout import ROUND_INSTRUCTIONS, key_and_sample
from nnlib.ops.dropout import dropout_scale, keep_at
from nnlib.ops.random_bits import LANES, ROUNDS
from nnlib.precision import DTYPES
from sim.chip.dma_modes import DmaMode
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles, transpose_cycles
from sim.chip.tile import Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

Place = tuple[int, ...]
OUTSIDE = 1 << 30
"""An index outside every array: what begins there is not transferred."""


@dataclass(frozen=True)
class Step:
    """A block of scores: which head, which blocks of rows and columns; ``first`` and ``last`` of its rows."""

    head: Head
    row: int
    column: int
    first: bool
    last: bool


class Streamed:
    """An operand's blocks, in its buffers by turns: what comes next arrives while the one before is worked on."""

    def __init__(self, group: CoreGroup, buffer: Buffer, dtype: np.dtype[np.floating]) -> None:
        self.group = group
        self.tiles = [
            group.alloc(f"{buffer.name}{number}", size=buffer.size, dtype=dtype, split=buffer.split)
            for number in range(buffer.copies)
        ]
        self.turned = (
            group.alloc(f"{buffer.name} turned", size=buffer.size[::-1], dtype=dtype, split=MATRIX)
            if buffer.turned
            else None
        )
        self.under_way: list[Transfer | None] = [None] * buffer.copies
        self.ahead = self.now = buffer.copies - 1

    @property
    def all_tiles(self) -> list[Tile]:
        return self.tiles if self.turned is None else [*self.tiles, self.turned]

    def fetch(self, array: MemoryArray, place: Place) -> None:
        """Start getting the block at ``place``; it is the one in hand after :meth:`advance`."""
        self.ahead = (self.ahead + 1) % len(self.tiles)
        tile = self.tiles[self.ahead]
        self.under_way[self.ahead] = self.group.get(tile, array, place, mode=dma_mode(tile, self.group))

    def advance(self) -> None:
        """Go on to what was fetched last."""
        self.now = self.ahead

    def arrive(self) -> bool:
        """Wait for the block in hand; True if it came just now."""
        transfer = self.under_way[self.now]
        if transfer is None:
            return False
        self.group.wait(transfer)
        self.under_way[self.now] = None
        return True

    def tile(self) -> Tile:
        """The block in hand, which has arrived, transposed if it is to be."""
        tile = self.tiles[self.now]
        new = self.arrive()
        turned = self.turned
        if turned is None:
            return tile
        if new:

            def run() -> None:
                turned.values()[...] = tile.values().T

            cycles = transpose_cycles(cpe=self.group.cpe, elements=prod(tile.size))
            self.group.compute(f"transpose {tile.name}", cycles=cycles, reads=[tile], writes=[turned], run=run)
        return turned


class AttentionFrame:
    """Buffers, loops and products of a program. Nothing in it depends on how many blocks came before.

    ``ranges``: for each block of rows the blocks of columns that it meets; ``skips``: only where some score is seen.
    """

    def __init__(
        self,
        *,
        shape: AttentionShape,
        blocks: Blocks,
        core_group: CoreGroup,
        arguments: Arguments,
        transposed: bool,
        skips: bool = True,
    ) -> None:
        self.shape, self.blocks, self.group = shape, blocks, core_group
        self.arguments = shape.unpacked(arguments)
        self.plan: AttentionPlan = blocks.best(core_group.processor)
        self.layout: Layout = blocks.layout(self.plan)
        self.transposed, self.skips = transposed, skips
        side = core_group.mesh[1]
        self.extent = (self.plan.rows * side, self.plan.columns * side)
        self.hidden = Hidden(shape)
        self.counts = -(-blocks.rows // self.extent[0]), -(-blocks.columns // self.extent[1])
        self.ranges = [self._range(row) for row in range(self.counts[0])]
        self.dtype = DTYPES[shape.dtype]
        self.streams: dict[str, Streamed] = {}
        self.tiles: dict[str, Tile] = {}
        self.puts: dict[str, Transfer] = {}
        self.of_sample: tuple[str, ...] = ("lengths",) if shape.padded else ()
        streamed = {each.name for each in (*self.layout.stay, *self.layout.pass_by) if each.copies > 1}
        for buffer in self.layout.buffers:
            if buffer.name in streamed or buffer.turned or buffer.name in self.of_sample:
                self.streams[buffer.name] = Streamed(core_group, buffer, self.dtype)
            else:
                self.tiles[buffer.name] = core_group.alloc(
                    buffer.name, size=buffer.size, dtype=self.dtype, split=buffer.split
                )
        # room for the copies into which the mesh product itself turns fp32 operands
        self.room = [
            core_group.alloc(f"{name}_fp64", size=(elements,), dtype=DTYPES["fp64"])
            for name, elements in zip("ab", self.layout.room(), strict=True)
            if blocks.converts(core_group.processor.mesh)
        ]

        if "hyper" in self.tiles:
            core_group.wait(core_group.get(self.tiles["hyper"], self.arguments["hyper"], (0,)))

    def run(self, fetch: Callable[[Step, bool, bool], None], compute: Callable[[Step], None]) -> None:
        """All blocks. ``fetch(step, rows, columns)`` starts the transfers of a step, of its rows and columns if new."""
        group, shape = self.group, self.shape
        whole = tuple(length // extent for length, extent in zip(self._lengths, self.extent, strict=True))
        alike = all(each == self.ranges[0] for each in self.ranges)
        self._fetch(fetch, self._step(Head(0, 0), 0, 0), None)
        for sample in group.loop("samples", shape.batch, steady=range(1, shape.batch - 1)):
            for head in group.loop("heads", shape.heads, steady=range(1, shape.heads - 1)):
                rows = range(1, whole[0] - 1) if alike else None
                for row in group.loop("rows", self.counts[0], steady=rows):
                    met = self.ranges[row]
                    columns = range(1, whole[1] - 1) if alike else None
                    for number in group.loop("columns", len(met), steady=columns):
                        step = self._step(Head(sample, head), row, number)
                        for stream in self.streams.values():
                            stream.advance()
                        following = self._following(step, number)
                        if following is not None:
                            self._fetch(fetch, following, step)
                        compute(step)
        group.wait(*self.puts.values())
        tiles = [tile for stream in self.streams.values() for tile in stream.all_tiles]
        group.free(*tiles, *self.tiles.values(), *self.room)

    def places(self, step: Step) -> Place:
        """The first row and column of a step."""
        return step.row * self.extent[0], step.column * self.extent[1]

    def queries_and_keys(self, step: Step) -> tuple[range, range]:
        """Of a block of scores."""
        rows, columns = (
            range(first, first + extent) for first, extent in zip(self.places(step), self.extent, strict=True)
        )
        return (columns, rows) if self.transposed else (rows, columns)

    def product(self, label: str, *, c: str, a: Tile, b: Tile, depth: int, step: Step, accumulate: bool) -> None:
        """``c (+)= a·b`` on the mesh: ``depth`` multiply-adds for each score count as useful."""
        rows, columns = (
            min(extent, length - first)
            for extent, length, first in zip(self.extent, self._lengths, self.places(step), strict=True)
        )
        self.group.mesh_gemm(
            label,
            c=self.tiles[c],
            a=a,
            b=b,
            accumulate=accumulate,
            flops=2 * rows * columns * depth,
            schedule=self.blocks.schedule,
            k_step_residual=GENERATIONS[self.blocks.library].k_step_residual(self.group.timed),
        )

    def compute(
        self,
        label: str,
        body: Body,
        *,
        elements: int,
        reads: Sequence[Tile],
        writes: Sequence[Tile],
        run: Callable[[], None],
    ) -> None:
        """``body`` for each vector of ``elements`` numbers of every CPE."""
        cycles = stream_cycles(cpe=self.group.cpe, body=body, elements=elements)
        self.group.compute(label, cycles=cycles, reads=reads, writes=writes, run=run)

    def exchange_rows(self, label: str, *, elements: int, reads: Sequence[Tile]) -> None:
        """What every CPE sends to the others of its row: they all combine what they receive with their own."""
        others = self.group.mesh[1] - 1
        self.group.row_broadcast(label)
        cycles = stream_cycles(
            cpe=self.group.cpe, body=Body(loads=1, stores=1, arithmetic=1), elements=others * elements
        )
        self.group.compute(label, cycles=cycles, reads=reads)

    def put(self, name: str, array: MemoryArray, place: Place) -> None:
        """Start putting a tile; who writes to it next has to wait."""
        tile = self.tiles[name]
        self.puts[name] = self.group.put(tile, array, place, mode=dma_mode(tile, self.group))

    def put_rows(self, name: str, array: MemoryArray, first: int) -> None:
        """Start putting numbers that all CPEs of a mesh row have: its first one does."""
        tile, (rows, columns) = self.tiles[name], self.group.mesh
        starts = np.full((rows * columns, 1), OUTSIDE, dtype=np.int64)
        starts[::columns, 0] = first + np.arange(rows) * tile.size[0]
        self.puts[name] = self.group.put(tile, array, starts)

    def wait_put(self, name: str) -> None:
        """Wait until a tile's last put is done, if it had one."""
        transfer = self.puts.pop(name, None)
        if transfer is not None:
            self.group.wait(transfer)

    def kept(self, step: Step, dtype: np.dtype[np.floating]) -> Array:
        """What dropout multiplies the probabilities of a block with."""
        shape = self.shape
        assert shape.dropped is not None
        key, first = key_and_sample(self.tiles["hyper"].values())
        queries, keys = (np.arange(each.start, each.stop) for each in self.queries_and_keys(step))
        element = (step.head.head * shape.queries + queries[:, None]) * shape.keys + keys
        mask = keep_at(key, np.full_like(element, first + step.head.sample), element, shape.dropped)
        return (mask.T if self.transposed else mask) * dtype.type(dropout_scale(shape.dropped))

    @property
    def dropout_arithmetic(self) -> int:
        """Instructions by which a vector of probabilities is dropped or kept; integers are no vectors."""
        if self.shape.dropped is None:
            return 0
        lanes = self.group.cpe.vector_lanes
        # a vector whose first key is no multiple of the numbers of one counter needs two
        counters = -(-lanes // LANES) + (self.shape.keys % LANES != 0)
        turned = lanes if self.transposed else 0
        return counters * ROUNDS * ROUND_INSTRUCTIONS + 2 * lanes + turned + 1

    def length(self) -> float | None:
        """How many keys the sample has; only in numeric runs."""
        if not self.shape.padded or not self.group.numerics:
            return None
        return float(self.streams["lengths"].tiles[self.streams["lengths"].now].values()[0])

    @property
    def _lengths(self) -> tuple[int, int]:
        return self.blocks.rows, self.blocks.columns

    def _range(self, row: int) -> range:
        """The blocks of columns that a block of rows meets: at least one."""
        every = range(self.counts[1])
        if not self.shape.causal or not self.skips:
            return every
        first, last = row * self.extent[0], (row + 1) * self.extent[0] - 1
        if self.transposed:  # queries from the first of these keys on
            return every[min(first // self.extent[1], len(every) - 1) :]
        return every[: last // self.extent[1] + 1]

    def _step(self, head: Head, row: int, number: int) -> Step:
        met = self.ranges[row]
        return Step(head, row, met[number], first=number == 0, last=number == len(met) - 1)

    def _following(self, step: Step, number: int) -> Step | None:
        """The step after this one."""
        if not step.last:
            return self._step(step.head, step.row, number + 1)
        if step.row + 1 < self.counts[0]:
            return self._step(step.head, step.row + 1, 0)
        sample, head = step.head.sample, step.head.head
        if head + 1 < self.shape.heads:
            return self._step(Head(sample, head + 1), 0, 0)
        if sample + 1 < self.shape.batch:
            return self._step(Head(sample + 1, 0), 0, 0)
        return None

    def _fetch(self, fetch: Callable[[Step, bool, bool], None], step: Step, before: Step | None) -> None:
        """What a step needs and the one before did not have."""
        if self.shape.padded and (before is None or before.head.sample != step.head.sample):
            self.streams["lengths"].fetch(self.arguments["lengths"], (step.head.sample,))
        same = before is not None and before.head == step.head
        rows = not (same and before is not None and before.row == step.row)
        columns = not (same and before is not None and before.column == step.column)
        fetch(step, rows, columns)


def dma_mode(tile: Tile, group: CoreGroup) -> DmaMode:
    """How a tile is transferred."""
    run = tile.size[-1] * tile.dtype.itemsize
    return "ROW" if by_mesh_rows(tile.split, run, group.processor) else "PE"
