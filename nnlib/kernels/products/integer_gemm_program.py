"""The tile program of an integer GEMM: narrow operands come in, are widened, multiplied, and narrow results go out."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.fixed.fixed_point import FP64, INT32, begin_counts, end_counts, requantise_instructions
from nnlib.kernels.kernel import Arguments
from nnlib.kernels.products.gemm_scheme import GemmPlan
from nnlib.precision.formats import STORAGE, IntegerName
from nnlib.precision.integer import requantise, sums_of
from sim.chip.pipeline.integer import widening_cycles
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

PLAIN = Split(rows=0, columns=1)
BY_COLUMN = Split(columns=0)


class IntegerGemmProgram:
    """State of one run: nothing in it depends on how many tiles came before.

    The operands of the next range of k, of the next tile if there is none, come while a range is multiplied.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        storage: IntegerName,
        relu: bool,
        clipped: bool,
        plan: GemmPlan,
        core_group: CoreGroup,
        arguments: Arguments,
    ) -> None:
        self.shape, self.storage, self.relu, self.clipped = shape, storage, relu, clipped
        self.core_group, self.arguments = core_group, arguments
        rows, columns = core_group.mesh
        self.extent = (plan.m * rows, plan.n * columns, plan.k * columns)
        self.tiles = tuple(-(-length // extent) for length, extent in zip(shape, self.extent, strict=True))
        self.whole = tuple(length // extent for length, extent in zip(shape, self.extent, strict=True))
        self.bits = 8 * STORAGE[storage].itemsize
        narrow, alloc = STORAGE[storage], core_group.alloc
        a, b, c = (plan.m, plan.k), (plan.k, plan.n), (plan.m, plan.n)
        self.a = [alloc(f"a{number}", size=a, dtype=narrow, split=PLAIN) for number in range(2)]
        self.b = [alloc(f"b{number}", size=b, dtype=narrow, split=PLAIN) for number in range(2)]
        self.c = [alloc(f"c{number}", size=c, dtype=narrow, split=PLAIN) for number in range(2)]
        self.a_wide = alloc("a_wide", size=a, dtype=INT32, split=PLAIN)
        self.b_wide = alloc("b_wide", size=b, dtype=INT32, split=PLAIN)
        self.sums = alloc("sums", size=c, dtype=INT32, split=PLAIN)
        self.bias = alloc("bias", size=(plan.n,), dtype=INT32, split=BY_COLUMN)
        self.multiplier = alloc("multiplier", size=(plan.n,), dtype=FP64, split=BY_COLUMN)
        self.counts = begin_counts(core_group, 2)
        self.under_way: list[list[Transfer]] = [[], []]
        self.puts: list[Transfer | None] = [None, None]
        self.buffer = self.target = 0

    def run(self) -> None:
        """Column by column of tiles, for each its bias and multiplier. The ranges that repeat leave out clipped tiles,
        and the first ones, whose result's buffer no put has used."""
        loop = self.core_group.loop
        tiles_m, tiles_n, _ = self.tiles
        first = -(-2 // tiles_m)
        self.fetch(0, 0, 0)
        for j in loop("columns of tiles", tiles_n, steady=range(first, self.whole[1] - 1)):
            self.begin_column(j)
            for i in loop("tiles", tiles_m, steady=range(2, self.whole[0] - 1)):
                self.tile(i, j)
        self.core_group.wait(*(put for put in self.puts if put is not None))
        group = self.core_group
        end_counts(group, self.counts, self.arguments["saturated"])
        group.free(*self.a, *self.b, *self.c, self.a_wide, self.b_wide, self.sums, self.bias, self.multiplier)

    def begin_column(self, j: int) -> None:
        """Get the numbers of a column of tiles."""
        group, place = self.core_group, (j * self.extent[1],)
        group.wait(
            group.get(self.bias, self.arguments["bias"], place),
            group.get(self.multiplier, self.arguments["multiplier"], place),
        )

    def tile(self, i: int, j: int) -> None:
        """A C tile: all ranges of k, then the results."""
        for p in self.core_group.loop("depth", self.tiles[2], steady=range(1, self.whole[2] - 1)):
            now = self.buffer
            self.fetch_after(i, j, p)
            self.multiply(i, j, p, now)
        self.finish(i, j)

    def fetch_after(self, i: int, j: int, p: int) -> None:
        """Start the transfers of the step after this one."""
        tiles_m, tiles_n, tiles_k = self.tiles
        if p + 1 < tiles_k:
            self.fetch(i, j, p + 1)
        elif i + 1 < tiles_m:
            self.fetch(i + 1, j, 0)
        elif j + 1 < tiles_n:
            self.fetch(0, j + 1, 0)

    def fetch(self, i: int, j: int, p: int) -> None:
        """Start the transfers of a step into the other buffers."""
        m, n, k = self.extent
        self.buffer = number = 1 - self.buffer
        group = self.core_group
        self.under_way[number] = [
            group.get(self.a[number], self.arguments["a"], (i * m, p * k)),
            group.get(self.b[number], self.arguments["b"], (p * k, j * n)),
        ]

    def multiply(self, i: int, j: int, p: int, buffer: int) -> None:
        """Wait for a step's operands, widen and multiply them."""
        group = self.core_group
        group.wait(*self.under_way[buffer])
        self.widen("widen a", self.a[buffer], self.a_wide)
        self.widen("widen b", self.b[buffer], self.b_wide)
        group.mesh_gemm(
            "integer gemm",
            c=self.sums,
            a=self.a_wide,
            b=self.b_wide,
            flops=self.useful_operations(i, j, p),
            accumulate=p > 0,
        )

    def widen(self, label: str, source: Tile, target: Tile) -> None:
        """32-bit numbers of narrower ones."""

        def run() -> None:
            target.values()[...] = source.values()

        cycles = widening_cycles(cpe=self.core_group.cpe, elements=prod(source.size), bits=self.bits)
        self.core_group.compute(label, cycles=cycles, reads=[source], writes=[target], run=run)

    def finish(self, i: int, j: int) -> None:
        """Make results of the sums and start to put them."""
        group, number = self.core_group, self.target
        put = self.puts[number]
        if put is not None:
            group.wait(put)
        result, (m, n, _) = self.c[number], self.extent

        def run() -> None:
            valid = min(m, self.shape[0] - i * m)
            sums = sums_of(
                np.asarray(self.sums.values()[:valid], dtype=np.float64), self.bias.values().astype(np.int32)
            )
            narrow, outside = requantise(
                sums.values, self.multiplier.values(), self.storage, relu=self.relu, clipped=self.clipped
            )
            result.values()[valid:] = 0
            result.values()[:valid] = narrow
            self.counts.values()[0] += sums.overflows, outside

        instructions = 1 + requantise_instructions(group, self.storage, relu=self.relu)
        cycles = stream_cycles(
            cpe=group.cpe,
            body=Body(loads=3, stores=1, arithmetic=instructions),
            elements=prod(self.sums.size),
        )
        group.compute(
            "requantise",
            cycles=cycles,
            reads=[self.sums, self.bias, self.multiplier],
            writes=[result, self.counts],
            run=run,
        )
        self.puts[number] = group.put(result, self.arguments["c"], (i * m, j * n))
        self.target = 1 - number

    def useful_operations(self, i: int, j: int, p: int) -> int:
        """Multiplications and additions of a step, edges left out."""
        places = zip(self.shape, self.extent, (i, j, p), strict=True)
        return 2 * prod(min(extent, length - at * extent) for length, extent, at in places)
