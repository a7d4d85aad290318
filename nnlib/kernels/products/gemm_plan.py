"""The tile sizes of a GEMM: which fit the LDM, and which of them should be fastest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from nnlib.kernels.products.gemm_scheme import GemmPlan, GemmScheme
from nnlib.precision import DTYPES, DTypeName
from sim.chip import pipeline
from sim.chip.ldm import aligned
from sim.chip.pipeline.convert import conversion_cycles
from sim.machine.spec import ProcessorSpec

FP64 = DTYPES["fp64"]
MOST_PARTS = 12
"""Equal parts that a length is cut into, besides sizes of the form 2^i and 3·2^i."""


@dataclass(frozen=True, kw_only=True)
class GemmProblem:
    """What is to be multiplied, and under which scheme. ``accumulate``: the product is added to c."""

    m: int
    n: int
    k: int
    dtype: DTypeName
    transpose_a: bool
    transpose_b: bool
    accumulate: bool
    scheme: GemmScheme

    @property
    def buffers(self) -> int:
        """Of each operand."""
        return 1 if self.scheme.overlap == "nothing" else 2

    @property
    def reads_ahead(self) -> bool:
        """The next C tile comes under the compute."""
        return self.accumulate and self.scheme.reads_ahead and self.scheme.overlap == "everything"

    @property
    def c_buffers(self) -> int:
        """One is computed in, one is being put and one, if it is read ahead, filled."""
        if self.scheme.overlap != "everything":
            return 1
        return 3 if self.reads_ahead else 2

    @property
    def operands_in_fp64(self) -> bool:
        """fp32 operands have a copy in fp64."""
        return self.dtype == "fp32" and self.scheme.fp32 != "direct"

    @property
    def all_in_fp64(self) -> bool:
        """c too."""
        return self.dtype == "fp32" and self.scheme.fp32 == "all"

    def ldm_bytes(self, plan: GemmPlan) -> int:
        """LDM of the buffers of a, b and c, of the transposed b, and of what is converted to fp64."""
        item = DTYPES[self.dtype].itemsize
        a, b, c = plan.m * plan.k, plan.k * plan.n, plan.m * plan.n
        c_item = FP64.itemsize if self.all_in_fp64 else item  # c is converted in place
        sizes = [*[item * a, item * b] * self.buffers, *[c_item * c] * self.c_buffers]
        if self.transpose_b:
            sizes.append(item * b)
        if self.operands_in_fp64:
            sizes += [FP64.itemsize * a, FP64.itemsize * b]
        return sum(aligned(size) for size in sizes)

    def part(self, plan: GemmPlan, *, left: tuple[int, int, int], mesh: tuple[int, int]) -> GemmPlan:
        """A CPE's part where ``left`` elements are left of m, n and k: clipped to what the scheme's multiples allow."""
        multiples = self.scheme.multiples
        if multiples is None:
            return plan
        rows, columns = mesh
        return GemmPlan(
            m=min(plan.m, _raised(-(-left[0] // rows), multiples.m)),
            n=min(plan.n, _raised(-(-left[1] // columns), multiples.n)),
            k=min(plan.k, _raised(-(-left[2] // columns), multiples.k)),
        )

    def whole_tiles(self, plan: GemmPlan, *, mesh: tuple[int, int]) -> tuple[float, float, float]:
        """How many whole tiles all tiles together amount to along m, n and k, clipped ones in part."""
        rows, columns = mesh
        extents = plan.m * rows, plan.n * columns, plan.k * columns
        full = [-(-length // extent) - 1 for length, extent in zip((self.m, self.n, self.k), extents, strict=True)]
        left = self.m - full[0] * extents[0], self.n - full[1] * extents[1], self.k - full[2] * extents[2]
        last = self.part(plan, left=left, mesh=mesh)
        return full[0] + last.m / plan.m, full[1] + last.n / plan.n, full[2] + last.k / plan.k


def ranked_plans(*, problem: GemmProblem, processor: ProcessorSpec) -> list[GemmPlan]:
    """All tile sizes that fit the LDM, by estimated time; none if not even the smallest fits."""
    plans = [plan for plan in _candidates(problem, processor) if problem.ldm_bytes(plan) <= processor.cpe.ldm_bytes]
    estimates = {plan: estimated_cycles(problem=problem, plan=plan, processor=processor) for plan in plans}
    return sorted(plans, key=lambda plan: estimates[plan])


def _candidates(problem: GemmProblem, processor: ProcessorSpec) -> Iterator[GemmPlan]:
    rows, columns = processor.mesh.rows, processor.mesh.columns
    multiples = problem.scheme.multiples
    m_sizes = _sizes(-(-problem.m // rows), None if multiples is None else multiples.m)
    n_sizes = _sizes(-(-problem.n // columns), None if multiples is None else multiples.n)
    k_sizes = _sizes(-(-problem.k // columns), None if multiples is None else multiples.k)
    for m in m_sizes:
        for n in n_sizes:
            for k in k_sizes:
                yield GemmPlan(m=m, n=n, k=k)


def _raised(length: int, multiple: int) -> int:
    """The least multiple that is not below ``length``."""
    return -(-length // multiple) * multiple


def _sizes(largest: int, multiple: int | None) -> list[int]:
    """Sizes worth trying for a length of ``largest``.

    Without ``multiple`` powers of two below it, and itself. With it 2^i and 3·2^i below, and the least multiples that
    cut the length into few equal parts.
    """
    if multiple is None:
        return doubling(largest)
    sizes = doubling(largest, least=multiple)[:-1]
    cut = (_raised(-(-largest // parts), multiple) for parts in range(1, MOST_PARTS + 1))
    return sorted({*sizes, *(3 * size for size in sizes if 3 * size < largest), *cut})


def estimated_cycles(*, problem: GemmProblem, plan: GemmPlan, processor: ProcessorSpec) -> float:
    """Cycles of the plan if what the scheme overlaps overlaps well: what ranks the plans, not a prediction."""
    mesh, dma = processor.mesh, processor.dma
    tiles_m = -(-problem.m // (plan.m * mesh.rows))
    tiles_n = -(-problem.n // (plan.n * mesh.columns))
    tiles_k = -(-problem.k // (plan.k * mesh.columns))
    item = DTYPES[problem.dtype].itemsize

    def transfer(rows: int, columns: int) -> float:
        return transfer_cycles(processor, blocks=rows, run_bytes=columns * item)

    a = transfer(plan.k, plan.m) if problem.transpose_a else transfer(plan.m, plan.k)
    b = transfer(plan.n, plan.k) if problem.transpose_b else transfer(plan.k, plan.n)
    c = transfer(plan.m, plan.n)
    compute = _compute_cycles(problem, plan, processor)
    tiles = tiles_m * tiles_n
    steps = tiles * tiles_k
    # a tile that the next step needs too stays where it is
    a_loads = tiles_m if tiles_k == 1 else steps
    b_loads = 1 if tiles_n == tiles_k == 1 else steps
    moved = a_loads * a + b_loads * b
    c_moves = 2 if problem.accumulate else 1
    if problem.scheme.overlap == "everything":
        moved += c_moves * tiles * c
        startup = dma.startup_cycles if steps > 1 else 0
        return steps * max(compute, moved / steps + startup) + a + b + c + 2 * dma.startup_cycles
    fetch = moved / steps + dma.startup_cycles
    hidden = max(fetch, compute) if problem.scheme.overlap == "depth" else fetch + compute
    whole_m, whole_n, whole_k = problem.whole_tiles(plan, mesh=(mesh.rows, mesh.columns))
    tile = fetch + compute + (whole_k - 1) * hidden + _c_cycles(problem, plan, processor, c, c_moves)
    return whole_m * whole_n * tile


def _compute_cycles(problem: GemmProblem, plan: GemmPlan, processor: ProcessorSpec) -> float:
    """Of the mesh GEMM of a k-range, and of what is done to its operands before."""
    scheme = problem.scheme
    cycles = mesh_gemm_cycles(
        processor,
        dtype="fp64" if problem.all_in_fp64 else problem.dtype,
        m=plan.m,
        n=plan.n,
        k=plan.k,
        schedule=scheme.schedule,
        k_step_residual=scheme.k_step_residual(processor),
    )
    if problem.transpose_b:
        cycles += pipeline.transpose_cycles(cpe=processor.cpe, elements=plan.k * plan.n)
    if problem.all_in_fp64:
        cycles += conversion_cycles(cpe=processor.cpe, elements=plan.k * (plan.m + plan.n))
    return cycles


def _c_cycles(problem: GemmProblem, plan: GemmPlan, processor: ProcessorSpec, transfer: float, transfers: int) -> float:
    """Of a C tile that nothing overlaps: its transfers and conversions."""
    cycles = transfers * (transfer + processor.dma.startup_cycles)
    if problem.all_in_fp64:
        cycles += transfers * conversion_cycles(cpe=processor.cpe, elements=plan.m * plan.n)
    return cycles
