"""General matrix multiplication on the 8 × 8 mesh: double-buffered DMA, eight broadcast steps per tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.precision import DTYPES, DTypeName
from sim.chip import pipeline
from sim.chip.core_group import CoreGroup, Transfer
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline import DEFAULT_SCHEDULE, SCHEDULES
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

FP64 = DTYPES["fp64"]


@dataclass(frozen=True)
class GemmPlan:
    """Elements of a CPE's part of the C tile (m × n) and of the k-range loaded at a time."""

    m: int
    n: int
    k: int


@dataclass(frozen=True)
class Gemm:
    """``c = op(a)·op(b)`` with c (m, n); a is stored (k, m) if ``transpose_a``, b (n, k) if ``transpose_b``."""

    m: int
    n: int
    k: int
    dtype: DTypeName
    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def name(self) -> str:
        return "gemm"

    def parameters(self) -> tuple[Parameter, ...]:
        """a, b and c."""
        return (
            Parameter("a", (self.k, self.m) if self.transpose_a else (self.m, self.k), "in"),
            Parameter("b", (self.n, self.k) if self.transpose_b else (self.k, self.n), "in"),
            Parameter("c", (self.m, self.n), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """``c`` by one BLAS call."""
        a = arrays["a"].T if self.transpose_a else arrays["a"]
        b = arrays["b"].T if self.transpose_b else arrays["b"]
        arrays["c"][...] = a @ b

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program; see the module's docstring."""
        plan = plan_gemm(gemm=self, processor=core_group.processor)
        _Program(gemm=self, plan=plan, core_group=core_group, arguments=arguments).run()


@lru_cache(maxsize=4096)
def plan_gemm(*, gemm: Gemm, processor: ProcessorSpec) -> GemmPlan:
    """The tile sizes with the least estimated time. Raises InfeasiblePlan if none fits the LDM."""
    rows, columns = processor.mesh.rows, processor.mesh.columns
    best: tuple[float, GemmPlan] | None = None
    for m in _sizes(-(-gemm.m // rows)):
        for n in _sizes(-(-gemm.n // columns)):
            for k in _sizes(-(-gemm.k // columns)):
                plan = GemmPlan(m=m, n=n, k=k)
                if _ldm_bytes(gemm, plan) <= processor.cpe.ldm_bytes:
                    estimate = _estimate(gemm=gemm, plan=plan, processor=processor)
                    if best is None or estimate < best[0]:
                        best = (estimate, plan)
    if best is None:
        smallest = _ldm_bytes(gemm, GemmPlan(m=1, n=1, k=1))
        raise InfeasiblePlan(kernel=gemm.name, needed=smallest, available=processor.cpe.ldm_bytes)
    return best[1]


def _sizes(largest: int) -> list[int]:
    """Powers of two below ``largest``, and ``largest`` itself."""
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return sizes if largest == 1 else [*sizes, largest]


def _ldm_bytes(gemm: Gemm, plan: GemmPlan) -> int:
    """LDM of two buffers each of a, b and c, of the transposed b, and of a and b as converted to fp64."""
    item = DTYPES[gemm.dtype].itemsize
    a, b, c = plan.m * plan.k, plan.k * plan.n, plan.m * plan.n
    sizes = [item * part for part in (a, a, b, b, c, c)]
    if gemm.transpose_b:
        sizes.append(item * b)
    if _converts(gemm):
        sizes += [FP64.itemsize * a, FP64.itemsize * b]
    return sum(aligned(size) for size in sizes)


def _converts(gemm: Gemm) -> bool:
    """True if the schedule multiplies fp32 operands as fp64, which it makes of them in the LDM (TACO18 §3.7)."""
    return gemm.dtype == "fp32" and SCHEDULES[DEFAULT_SCHEDULE].converts_fp32


def _estimate(*, gemm: Gemm, plan: GemmPlan, processor: ProcessorSpec) -> float:
    """Cycles of the plan if the next tiles' DMA runs under the compute: what ranks the plans, not a prediction."""
    mesh, dma = processor.mesh, processor.dma
    tiles_m = -(-gemm.m // (plan.m * mesh.rows))
    tiles_n = -(-gemm.n // (plan.n * mesh.columns))
    tiles_k = -(-gemm.k // (plan.k * mesh.columns))
    step = pipeline.gemm_step_cycles(processor=processor, dtype=gemm.dtype, m=plan.m, n=plan.n, k=plan.k)
    compute = mesh.columns * (step + 2 * mesh.latency_cycles)
    if gemm.transpose_b:
        compute += pipeline.transpose_cycles(cpe=processor.cpe, elements=plan.k * plan.n)
    item = DTYPES[gemm.dtype].itemsize

    def transfer(rows: int, columns: int) -> float:
        lines = -(-columns * item // dma.line_bytes)
        seconds = dma.request_seconds + rows * (lines * dma.line_seconds + dma.block_seconds)
        return processor.cpes_per_core_group * seconds * processor.clock_hertz

    a = transfer(plan.k, plan.m) if gemm.transpose_a else transfer(plan.m, plan.k)
    b = transfer(plan.n, plan.k) if gemm.transpose_b else transfer(plan.k, plan.n)
    c = transfer(plan.m, plan.n)
    tiles = tiles_m * tiles_n
    steps = tiles * tiles_k
    # a tile that the next step needs too stays where it is
    a_loads = tiles_m if tiles_k == 1 else steps
    b_loads = 1 if tiles_n == tiles_k == 1 else steps
    moved = a_loads * a + b_loads * b + tiles * c
    startup = dma.startup_cycles if steps > 1 else 0
    return steps * max(compute, moved / steps + startup) + a + b + c + 2 * dma.startup_cycles


@dataclass(frozen=True)
class _Step:
    """One mesh GEMM: tile indices, and whether it is the last of its C tile."""

    i: int
    j: int
    k: int
    last: bool


class _Operand:
    """Two buffers of an operand: the next tile is fetched while the last one is used; equal tiles stay."""

    def __init__(self, core_group: CoreGroup, tiles: tuple[Tile, Tile]) -> None:
        self.core_group = core_group
        self.tiles = tiles
        self.held: list[tuple[int, int] | None] = [None, None]
        self.under_way: list[Transfer | None] = [None, None]
        self.current = 0

    def fetch(self, *, where: tuple[int, int], array_start: tuple[int, int], arguments: Arguments, name: str) -> int:
        """Start fetching the tile at ``where`` unless it is held; returns its buffer's number."""
        if self.held[self.current] == where:
            return self.current
        self.current = 1 - self.current
        self.held[self.current] = where
        self.under_way[self.current] = self.core_group.get(self.tiles[self.current], arguments[name], array_start)
        return self.current

    def ready(self, buffer: int) -> bool:
        """Wait for the buffer's data; True if they came just now."""
        transfer = self.under_way[buffer]
        if transfer is None:
            return False
        self.core_group.wait(transfer)
        self.under_way[buffer] = None
        return True


class _Program:
    """State of the tile program."""

    def __init__(self, *, gemm: Gemm, plan: GemmPlan, core_group: CoreGroup, arguments: Arguments) -> None:
        self.gemm, self.plan, self.core_group, self.arguments = gemm, plan, core_group, arguments
        rows, columns = core_group.mesh
        self.extent = (plan.m * rows, plan.n * columns, plan.k * columns)
        dtype = DTYPES[gemm.dtype]
        a_size = (plan.k, plan.m) if gemm.transpose_a else (plan.m, plan.k)
        b_size = (plan.n, plan.k) if gemm.transpose_b else (plan.k, plan.n)
        a_split = Split(rows=1, columns=0) if gemm.transpose_a else Split(rows=0, columns=1)
        b_split = Split(rows=1, columns=0) if gemm.transpose_b else Split(rows=0, columns=1)
        alloc = core_group.alloc
        self.a = _Operand(
            core_group,
            (
                alloc("a0", size=a_size, dtype=dtype, split=a_split),
                alloc("a1", size=a_size, dtype=dtype, split=a_split),
            ),
        )
        self.b = _Operand(
            core_group,
            (
                alloc("b0", size=b_size, dtype=dtype, split=b_split),
                alloc("b1", size=b_size, dtype=dtype, split=b_split),
            ),
        )
        c_split = Split(rows=0, columns=1)
        self.c = [alloc(f"c{i}", size=(plan.m, plan.n), dtype=dtype, split=c_split) for i in range(2)]
        self.b_transposed = (
            alloc("b_transposed", size=(plan.k, plan.n), dtype=dtype, split=c_split) if gemm.transpose_b else None
        )
        self.converted = [
            alloc(f"{name}_fp64", size=size, dtype=FP64)
            for name, size in (("a", (plan.m, plan.k)), ("b", (plan.k, plan.n)))
            if _converts(gemm)
        ]
        self.puts: list[Transfer | None] = [None, None]

    def steps(self) -> Iterator[_Step]:
        gemm, (m, n, k) = self.gemm, self.extent
        depth = -(-gemm.k // k)
        for i in range(-(-gemm.m // m)):
            for j in range(-(-gemm.n // n)):
                for p in range(depth):
                    yield _Step(i, j, p, p == depth - 1)

    def fetch(self, step: _Step) -> tuple[int, int]:
        """Start the transfers of a step; the buffers' numbers of a and b."""
        m, n, k = self.extent
        a_start = (step.k * k, step.i * m) if self.gemm.transpose_a else (step.i * m, step.k * k)
        b_start = (step.j * n, step.k * k) if self.gemm.transpose_b else (step.k * k, step.j * n)
        a = self.a.fetch(where=(step.i, step.k), array_start=a_start, arguments=self.arguments, name="a")
        b = self.b.fetch(where=(step.k, step.j), array_start=b_start, arguments=self.arguments, name="b")
        return a, b

    def run(self) -> None:
        steps = list(self.steps())
        buffers = self.fetch(steps[0])
        target = 0
        for index in self.core_group.loop("tiles", len(steps)):
            step = steps[index]
            following = self.fetch(steps[index + 1]) if index + 1 < len(steps) else None
            self.multiply(step, buffers, target)
            if step.last:
                m, n, _ = self.extent
                start = (step.i * m, step.j * n)
                self.puts[target] = self.core_group.put(self.c[target], self.arguments["c"], start)
                target = 1 - target
            if following is not None:
                buffers = following
        self.core_group.wait(*(put for put in self.puts if put is not None))
        self.core_group.free(*self.a.tiles, *self.b.tiles, *self.c, *self.converted)
        if self.b_transposed is not None:
            self.core_group.free(self.b_transposed)

    def multiply(self, step: _Step, buffers: tuple[int, int], target: int) -> None:
        """Wait for the step's operands and for the C buffer, and multiply."""
        group, c = self.core_group, self.c[target]
        self.a.ready(buffers[0])
        came = self.b.ready(buffers[1])
        put = self.puts[target]
        if put is not None and step.k == 0:
            group.wait(put)
            self.puts[target] = None
        b = self.b.tiles[buffers[1]]
        if self.b_transposed is not None:
            if came:
                self.transpose(b, self.b_transposed)
            b = self.b_transposed
        group.mesh_gemm(
            "gemm", c=c, a=self.a.tiles[buffers[0]], b=b, transpose_a=self.gemm.transpose_a,
            flops=self.useful_flops(step), accumulate=step.k > 0,
        )  # fmt: skip

    def transpose(self, source: Tile, target: Tile) -> None:
        """Turn b (n, k) into (k, n) inside the LDM, so that vectors lie along n."""
        plan, group = self.plan, self.core_group

        def run() -> None:
            target.values()[...] = source.values().T

        cycles = pipeline.transpose_cycles(cpe=group.processor.cpe, elements=plan.k * plan.n)
        group.compute("transpose b", cycles=cycles, reads=[source], writes=[target], run=run)

    def useful_flops(self, step: _Step) -> int:
        gemm, (m, n, k) = self.gemm, self.extent
        return 2 * min(m, gemm.m - step.i * m) * min(n, gemm.n - step.j * n) * min(k, gemm.k - step.k * k)
