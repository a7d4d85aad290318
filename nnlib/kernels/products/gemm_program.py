"""The tile program of a GEMM: C tile by C tile, eight broadcast steps of the mesh for each range of k."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments
from nnlib.kernels.products.gemm_problem import GemmProblem
from nnlib.kernels.products.gemm_scheme import GemmPlan
from nnlib.precision import DTYPES
from sim.chip.memory import MemoryArray
from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.streaming import transpose_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

FP64 = DTYPES["fp64"]
PLAIN = Split(rows=0, columns=1)
SWAPPED = Split(rows=1, columns=0)

Place = tuple[int, int]


def shaped(core_group: CoreGroup, tile: Tile, *, size: tuple[int, ...], dtype: np.dtype[np.floating]) -> Tile:
    """The buffer with another shape or precision, in the same place; what it held is gone unless it had these."""
    if tile.size == size and tile.dtype == dtype:
        return tile
    core_group.free(tile)
    return core_group.alloc(tile.name, size=size, dtype=dtype, split=tile.split)


class _Operand:
    """The buffers of an operand, filled in turn, and what its last tile becomes before it is multiplied."""

    def __init__(self, *, core_group: CoreGroup, array: MemoryArray, tiles: list[Tile], swapped: bool) -> None:
        self.core_group, self.array, self.tiles, self.swapped = core_group, array, tiles, swapped
        self.filled = len(tiles) - 1
        self.under_way: list[Transfer | None] = [None] * len(tiles)

    def fetch(self, place: Place, size: Place) -> int:
        """Start getting ``size`` elements per CPE from ``place`` of op(array) into the next buffer; its number."""
        if self.swapped:
            place, size = place[::-1], size[::-1]
        self.filled = number = (self.filled + 1) % len(self.tiles)
        tile = shaped(self.core_group, self.tiles[number], size=size, dtype=self.array.dtype)
        self.tiles[number] = tile
        self.under_way[number] = self.core_group.get(tile, self.array, place)
        return number

    def ready(self, buffer: int) -> bool:
        """Wait for the buffer's data; True if they came just now."""
        transfer = self.under_way[buffer]
        if transfer is None:
            return False
        self.core_group.wait(transfer)
        self.under_way[buffer] = None
        return True


class GemmProgram:
    """State of one run: nothing in it depends on how many tiles came before."""

    def __init__(self, *, problem: GemmProblem, plan: GemmPlan, core_group: CoreGroup, arguments: Arguments) -> None:
        self.problem, self.plan, self.core_group = problem, plan, core_group
        rows, columns = core_group.mesh
        self.extent = (plan.m * rows, plan.n * columns, plan.k * columns)
        self.whole = tuple(
            length // extent for length, extent in zip((problem.m, problem.n, problem.k), self.extent, strict=True)
        )
        self.tiles_m, self.tiles_n, self.tiles_k = (
            -(-length // extent) for length, extent in zip((problem.m, problem.n, problem.k), self.extent, strict=True)
        )
        self.target_array = arguments["c"]
        self.a = self._operand("a", arguments["a"], (plan.m, plan.k), swapped=problem.transpose_a)
        self.b = self._operand("b", arguments["b"], (plan.k, plan.n), swapped=problem.transpose_b)
        dtype, alloc = DTYPES[problem.dtype], core_group.alloc
        self.c = [alloc(f"c{i}", size=(plan.m, plan.n), dtype=dtype, split=PLAIN) for i in range(problem.c_buffers)]
        self.b_plain = (
            alloc("b_transposed", size=(plan.k, plan.n), dtype=dtype, split=PLAIN) if problem.transpose_b else None
        )
        self.fp64 = self._alloc_fp64()
        self.puts: list[Transfer | None] = [None] * problem.c_buffers
        self.reads: list[Transfer | None] = [None] * problem.c_buffers
        self.target = 0
        self.buffers = (0, 0)

    def run(self) -> None:
        """All C tiles. The ranges that repeat leave out tiles clipped by an edge, and the first ones, whose C buffer
        no put has used."""
        loop = self.core_group.loop
        first = -(-len(self.c) // self.tiles_n)
        if self.problem.scheme.overlap == "everything":
            self.fetch(0, 0, 0)
        if self.problem.reads_ahead:
            self.read_c(self.target, 0, 0)
        for i in loop("rows of tiles", self.tiles_m, steady=range(first, self.whole[0] - 1)):
            for j in loop("tiles", self.tiles_n, steady=range(len(self.c), self.whole[1] - 1)):
                self.tile(i, j)
        self.core_group.wait(*(put for put in self.puts if put is not None))
        self.core_group.free(*self.a.tiles, *self.b.tiles, *self.c, *self.fp64)
        if self.b_plain is not None:
            self.core_group.free(self.b_plain)

    def tile(self, i: int, j: int) -> None:
        """A C tile: all ranges of k, and what is put in the end."""
        overlap = self.problem.scheme.overlap
        if overlap == "depth":
            self.fetch(i, j, 0)
        for p in self.core_group.loop("depth", self.tiles_k, steady=range(1, self.whole[2] - 1)):
            if overlap == "nothing":
                self.fetch(i, j, p)
            now = self.buffers
            if overlap != "nothing":
                self.fetch_after(i, j, p)
            self.multiply(i, j, p, now)
        if self.problem.all_in_fp64:
            self.convert_c("convert c back", dtype=DTYPES[self.problem.dtype])
        m, n, _ = self.extent
        self.puts[self.target] = self.core_group.put(self.c[self.target], self.target_array, (i * m, j * n))
        if overlap != "everything":
            self.wait_for_put(self.target)
        self.target = (self.target + 1) % len(self.c)

    def fetch_after(self, i: int, j: int, p: int) -> None:
        """Start the transfers of the step after this one, of the same C tile or, if all overlaps, of the next one."""
        if p + 1 < self.tiles_k:
            self.fetch(i, j, p + 1)
        elif self.problem.scheme.overlap != "everything":
            return
        elif j + 1 < self.tiles_n:
            self.fetch(i, j + 1, 0, same_a=self.tiles_k == 1)
        elif i + 1 < self.tiles_m:
            self.fetch(i + 1, 0, 0, same_b=self.tiles_n == self.tiles_k == 1)

    def fetch(self, i: int, j: int, p: int, *, same_a: bool = False, same_b: bool = False) -> None:
        """Start the transfers of a step; a tile that is there already stays where it is."""
        m, n, k = self.extent
        part = self.part(i, j, p)
        a, b = self.buffers
        if not same_a:
            a = self.a.fetch((i * m, p * k), (part.m, part.k))
        if not same_b:
            b = self.b.fetch((p * k, j * n), (part.k, part.n))
        self.buffers = (a, b)

    def multiply(self, i: int, j: int, p: int, buffers: tuple[int, int]) -> None:
        """Wait for a step's operands and for the C buffer, and multiply."""
        new_a = self.a.ready(buffers[0])
        new_b = self.b.ready(buffers[1])
        if p == 0:
            self.begin_c(i, j)
        a, b, c = self.a.tiles[buffers[0]], self.b.tiles[buffers[1]], self.c[self.target]
        if self.b_plain is not None:
            if new_b:
                self.b_plain = shaped(self.core_group, self.b_plain, size=b.size[::-1], dtype=b.dtype)
                self.transpose(b, self.b_plain)
            b = self.b_plain
        if self.problem.all_in_fp64:
            for number, (operand, new) in enumerate(((a, new_a), (b, new_b))):
                if new:
                    self.fp64[number] = shaped(self.core_group, self.fp64[number], size=operand.size, dtype=FP64)
                    self.convert(f"convert {'ab'[number]}", operand, self.fp64[number])
            a, b = self.fp64
        scheme = self.problem.scheme
        self.core_group.mesh_gemm(
            "gemm",
            c=c,
            a=a,
            b=b,
            transpose_a=self.problem.transpose_a,
            flops=self.useful_flops(i, j, p),
            accumulate=p > 0 or self.problem.accumulate,
            schedule=scheme.schedule,
            k_step_residual=scheme.k_step_residual(self.core_group.timed),
        )

    def begin_c(self, i: int, j: int) -> None:
        """Wait until the C buffer is free; get what the product is added to."""
        if self.problem.reads_ahead:
            self.wait_for_c()
            following = (i, j + 1) if j + 1 < self.tiles_n else (i + 1, 0)
            if following[0] < self.tiles_m:
                self.read_c((self.target + 1) % len(self.c), *following)
        elif self.problem.accumulate:
            self.read_c(self.target, i, j)
            self.wait_for_c()
        else:
            self.wait_for_put(self.target)
            dtype = FP64 if self.problem.all_in_fp64 else DTYPES[self.problem.dtype]
            self.shape_c(self.target, i, j, dtype)
        if self.problem.accumulate and self.problem.all_in_fp64:
            self.convert_c("convert c", dtype=FP64)

    def read_c(self, buffer: int, i: int, j: int) -> None:
        """Start getting a C tile into the buffer once that is free."""
        m, n, _ = self.extent
        self.wait_for_put(buffer)
        self.shape_c(buffer, i, j, DTYPES[self.problem.dtype])
        self.reads[buffer] = self.core_group.get(self.c[buffer], self.target_array, (i * m, j * n))

    def shape_c(self, buffer: int, i: int, j: int, dtype: np.dtype[np.floating]) -> None:
        """Give the buffer the size of a tile."""
        part = self.part(i, j, 0)
        self.c[buffer] = shaped(self.core_group, self.c[buffer], size=(part.m, part.n), dtype=dtype)

    def wait_for_c(self) -> None:
        """Wait until what the product is added to has come."""
        read = self.reads[self.target]
        if read is not None:
            self.core_group.wait(read)
            self.reads[self.target] = None

    def wait_for_put(self, buffer: int) -> None:
        """Wait until the C buffer's last put is done, if it had one."""
        put = self.puts[buffer]
        if put is not None:
            self.core_group.wait(put)
            self.puts[buffer] = None

    def transpose(self, source: Tile, target: Tile) -> None:
        """Turn b (n, k) into (k, n) inside the LDM, so that vectors lie along n."""

        def run() -> None:
            target.values()[...] = source.values().T

        cpe, elements = self.core_group.cpe, prod(source.size)
        cycles = transpose_cycles(cpe=cpe, elements=elements)
        self.core_group.compute("transpose b", cycles=cycles, reads=[source], writes=[target], run=run)

    def convert(self, label: str, source: Tile, target: Tile) -> None:
        """Copy a tile into the other precision."""

        def run() -> None:
            target.values()[...] = source.values()

        cycles = conversion_cycles(cpe=self.core_group.cpe, elements=prod(source.size))
        self.core_group.compute(label, cycles=cycles, reads=[source], writes=[target], run=run)

    def convert_c(self, label: str, *, dtype: np.dtype[np.floating]) -> None:
        """Turn the C tile into the other precision in place: from its end on widening, from its start on narrowing."""
        source = self.c[self.target]
        self.c[self.target] = shaped(self.core_group, source, size=source.size, dtype=dtype)
        self.convert(label, source, self.c[self.target])

    def part(self, i: int, j: int, p: int) -> GemmPlan:
        """A CPE's part of a step's tiles, smaller at an edge if the scheme has multiples."""
        problem, (m, n, k) = self.problem, self.extent
        left = (problem.m - i * m, problem.n - j * n, problem.k - p * k)
        return problem.part(self.plan, left=left, mesh=self.core_group.mesh)

    def useful_flops(self, i: int, j: int, p: int) -> int:
        problem, (m, n, k) = self.problem, self.extent
        return 2 * min(m, problem.m - i * m) * min(n, problem.n - j * n) * min(k, problem.k - p * k)

    def _operand(self, name: str, array: MemoryArray, size: Place, *, swapped: bool) -> _Operand:
        """Buffers for tiles of op(array), stored as the array is."""
        stored = (size[1], size[0]) if swapped else size
        split, dtype = SWAPPED if swapped else PLAIN, DTYPES[self.problem.dtype]
        tiles = [
            self.core_group.alloc(f"{name}{number}", size=stored, dtype=dtype, split=split)
            for number in range(self.problem.buffers)
        ]
        return _Operand(core_group=self.core_group, array=array, tiles=tiles, swapped=swapped)

    def _alloc_fp64(self) -> list[Tile]:
        """fp64 copies of a and b, as far as the scheme has them.

        The copies of operands that the mesh GEMM itself converts are only there to take their room.
        """
        problem, plan, alloc = self.problem, self.plan, self.core_group.alloc
        if not problem.operands_in_fp64:
            return []
        swapped = problem.transpose_a
        a_size = (plan.k, plan.m) if swapped else (plan.m, plan.k)
        return [
            alloc("a_fp64", size=a_size, dtype=FP64, split=SWAPPED if swapped else PLAIN),
            alloc("b_fp64", size=(plan.k, plan.n), dtype=FP64, split=PLAIN),
        ]
