"""The 16 matrix products of Winograd's algorithm: a plane of weights stays in the LDM while all tiles pass by it.

The general GEMM loads and converts the weights' tile anew for each tile of its rows. Here they come once, are
converted to fp64 once (and transposed once, where they are stored so), and only what passes is converted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.batched import plane
from nnlib.kernels.generations import DEFAULT_LIBRARY, GENERATIONS, Library
from nnlib.kernels.implicit.resident_plan import ResidentPlan, Shape, converts, plan_resident
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.order import Order
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.streaming import transpose_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

FP64 = DTYPES["fp64"]
SPLIT = Split(rows=0, columns=1)


@dataclass(frozen=True, kw_only=True)
class ResidentProduct:
    """``c[i] = a[i]·b[i]``: a (planes, m, k) passes by, b (planes, k, n) is resident, c (planes, m, n).

    Channels first a is stored (planes, k, m) and c (planes, n, m). ``transpose_b``: b is stored (planes, n, k). Only
    ``count`` planes from ``first`` on are computed. ``overlapped``: a's next rows come and c's last ones go under the
    compute; else tiles follow one another.
    """

    planes: int
    m: int
    n: int
    k: int
    dtype: DTypeName
    transpose_b: bool = False
    order: Order = "channels-last"
    first: int = 0
    count: int | None = None
    overlapped: bool = True
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return "resident_product"

    @property
    def last(self) -> bool:
        """True if channels lie last."""
        return self.order == "channels-last"

    @property
    def chosen(self) -> range:
        """The planes that are computed."""
        return range(self.first, self.planes if self.count is None else self.first + self.count)

    @property
    def shape(self) -> Shape:
        """What the plan depends on."""
        return Shape(
            m=self.m,
            n=self.n,
            k=self.k,
            dtype=self.dtype,
            transpose_b=self.transpose_b,
            order=self.order,
            overlapped=self.overlapped,
            schedule=GENERATIONS[self.library].schedule,
        )

    def parameters(self) -> tuple[Parameter, ...]:
        """a, b and c."""
        b = (self.n, self.k) if self.transpose_b else (self.k, self.n)
        a, c = ((self.m, self.k), (self.m, self.n)) if self.last else ((self.k, self.m), (self.n, self.m))
        every = len(self.chosen) == self.planes
        return (
            Parameter("a", (self.planes, *a), "in"),
            Parameter("b", (self.planes, *b), "in", common=every),
            Parameter("c", (self.planes, *c), "out" if every else "inout"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """One product after the other by BLAS."""
        for index in self.chosen:
            b = arrays["b"][index].T if self.transpose_b else arrays["b"][index]
            arrays["c"][index] = arrays["a"][index] @ b if self.last else b.T @ arrays["a"][index]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if the smallest resident tile does not fit."""
        plan = plan_resident(shape=self.shape, processor=core_group.processor)
        width = plan.n * core_group.mesh[1]
        for number in core_group.loop("planes", len(self.chosen), steady=range(len(self.chosen))):
            a, b, c = (plane(arguments[name], self.chosen[number]) for name in "abc")
            for block in core_group.loop("columns", -(-self.n // width), steady=range(self.n // width)):
                _Pass(product=self, plan=plan, core_group=core_group, a=a, c=c, column=block * width).run(b)


@dataclass(kw_only=True)
class _Pass:
    """All rows of a pass by one tile of b, which begins at ``column``."""

    product: ResidentProduct
    plan: ResidentPlan
    core_group: CoreGroup
    a: MemoryArray
    c: MemoryArray
    column: int
    a_tiles: list[Tile] = field(init=False)
    c_tiles: list[Tile] = field(init=False)
    wide: list[Tile] = field(default_factory=list)
    """a and c as fp64, where the schedule multiplies fp32 so."""

    def run(self, b: MemoryArray) -> None:
        """Load b, let all rows pass, wait for the last of c."""
        group, plan, dtype = self.core_group, self.plan, DTYPES[self.product.dtype]
        resident = self.load(b)
        size_a, size_c = (plan.m, plan.k), (plan.m, plan.n)
        if not self.product.last:
            size_a, size_c = size_a[::-1], size_c[::-1]
        buffers = self.product.shape.buffers
        self.a_tiles = [group.alloc(f"a{i}", size=size_a, dtype=dtype, split=SPLIT) for i in range(buffers)]
        self.c_tiles = [group.alloc(f"c{i}", size=size_c, dtype=dtype, split=SPLIT) for i in range(buffers)]
        if converts(self.product.shape, group.processor.mesh):
            self.wide = [
                group.alloc(f"{name}_fp64", size=size, dtype=FP64, split=SPLIT)
                for name, size in (("a", size_a), ("c", size_c))
            ]
        if self.product.overlapped:
            self.overlap(resident)
        else:
            self.follow(resident)
        group.free(resident, *self.a_tiles, *self.c_tiles, *self.wide)

    @property
    def height(self) -> int:
        """Rows of a on the whole mesh."""
        return self.plan.m * self.core_group.mesh[0]

    @property
    def iterations(self) -> int:
        return -(-self.product.m // self.height)

    @property
    def whole(self) -> int:
        """The iterations in which no row is missing."""
        return self.product.m // self.height

    def overlap(self, resident: Tile) -> None:
        """The next rows come and the last ones go under the compute."""
        group, iterations = self.core_group, self.iterations
        following: Transfer | None = self.fetch(0)
        puts: deque[Transfer] = deque()
        for iteration in group.loop("rows", iterations, steady=range(2, min(self.whole, iterations) - 1)):
            current = following
            assert current is not None
            following = self.fetch(iteration + 1) if iteration + 1 < iterations else None
            group.wait(current)
            if len(puts) == 2:
                group.wait(puts.popleft())
            self.multiply(iteration, resident)
            puts.append(self.put(iteration))
        group.wait(*puts)

    def follow(self, resident: Tile) -> None:
        """Rows come, are multiplied and go, one tile after the other."""
        group = self.core_group
        for iteration in group.loop("rows", self.iterations, steady=range(self.whole)):
            group.wait(self.fetch(iteration))
            self.multiply(iteration, resident)
            group.wait(self.put(iteration))

    def fetch(self, iteration: int) -> Transfer:
        first = iteration * self.height
        tile = self.a_tiles[iteration % len(self.a_tiles)]
        return self.core_group.get(tile, self.a, (first, 0) if self.product.last else (0, first))

    def put(self, iteration: int) -> Transfer:
        first = iteration * self.height
        tile = self.c_tiles[iteration % len(self.c_tiles)]
        start = (first, self.column) if self.product.last else (self.column, first)
        return self.core_group.put(tile, self.c, start)

    def load(self, b: MemoryArray) -> Tile:
        """b as it is multiplied, converted if need be, and transposed where the mesh would need that.

        Channels last it is the right factor, (k, n) on the mesh; channels first the left one, of either orientation.
        """
        group, plan, product = self.core_group, self.plan, self.product
        stored, start = (plan.k, plan.n), (0, self.column)
        if product.transpose_b:
            stored, start = stored[::-1], start[::-1]
        # k lies along the rows of the mesh in a right factor, along its columns in a left one
        split = Split(rows=1, columns=0) if product.transpose_b == product.last else SPLIT
        tile = group.alloc("b", size=stored, dtype=DTYPES[product.dtype], split=split)
        group.wait(group.get(tile, b, start))
        convert, transpose = converts(product.shape, group.processor.mesh), product.shape.transposes
        if not (convert or transpose):
            return tile
        dtype = FP64 if convert else DTYPES[product.dtype]
        size, split = ((plan.k, plan.n), SPLIT) if transpose else (stored, split)
        resident = group.alloc("b_resident", size=size, dtype=dtype, split=split)
        cpe, elements = group.cpe, plan.k * plan.n
        cycles = conversion_cycles(cpe=cpe, elements=elements) if convert else 0.0
        if transpose:
            cycles += transpose_cycles(cpe=cpe, elements=elements)

        def run() -> None:
            resident.values()[...] = tile.values().T if transpose else tile.values()

        group.compute("prepare b", cycles=cycles, reads=[tile], writes=[resident], run=run)
        group.free(tile)
        return resident

    def multiply(self, iteration: int, resident: Tile) -> None:
        """The mesh GEMM of one tile of a."""
        product, plan = self.product, self.plan
        buffer = iteration % len(self.a_tiles)
        a, c = self.a_tiles[buffer], self.c_tiles[buffer]
        rows = min(self.height, product.m - iteration * self.height)
        generation = GENERATIONS[product.library]
        left, target = a, c
        if self.wide:
            left, target = self.wide
            self.convert("convert a", a, left)
        width = min(plan.n * self.core_group.mesh[1], product.n - self.column)
        self.core_group.mesh_gemm(
            "gemm",
            c=target,
            a=left if product.last else resident,
            b=resident if product.last else left,
            transpose_a=not (product.last or product.transpose_b),
            flops=2 * rows * width * product.k,
            accumulate=False,
            schedule=generation.schedule,
            k_step_residual=generation.k_step_residual(self.core_group.timed),
        )
        if self.wide:
            self.convert("convert c", target, c)

    def convert(self, label: str, source: Tile, target: Tile) -> None:
        """Between fp32 and fp64 in the LDM, element by element."""
        cycles = conversion_cycles(cpe=self.core_group.cpe, elements=int(np.prod(source.size)))

        def run() -> None:
            target.values()[...] = source.values()

        self.core_group.compute(label, cycles=cycles, reads=[source], writes=[target], run=run)
