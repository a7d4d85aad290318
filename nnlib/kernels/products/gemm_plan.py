"""The tile sizes of a GEMM: which fit the LDM, and which of them should be fastest."""

from __future__ import annotations

from collections.abc import Iterator

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from nnlib.kernels.products.gemm_problem import GemmProblem, raised
from nnlib.kernels.products.gemm_scheme import GemmPlan
from nnlib.precision import DTYPES
from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.streaming import transpose_cycles
from sim.machine.spec import ProcessorSpec

MOST_PARTS = 12
"""Equal parts that a length is cut into, besides sizes of the form 2^i and 3·2^i."""


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


def _sizes(largest: int, multiple: int | None) -> list[int]:
    """Sizes worth trying for a length of ``largest``.

    Without ``multiple`` powers of two below it, and itself. With it 2^i and 3·2^i below, and the least multiples that
    cut the length into few equal parts.
    """
    if multiple is None:
        return doubling(largest)
    sizes = doubling(largest, least=multiple)[:-1]
    cut = (raised(-(-largest // parts), multiple) for parts in range(1, MOST_PARTS + 1))
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
        cycles += transpose_cycles(cpe=processor.cpe, elements=plan.k * plan.n)
    if problem.all_in_fp64:
        cycles += conversion_cycles(cpe=processor.cpe, elements=plan.k * (plan.m + plan.n))
    return cycles


def _c_cycles(problem: GemmProblem, plan: GemmPlan, processor: ProcessorSpec, transfer: float, transfers: int) -> float:
    """Of a C tile that nothing overlaps: its transfers and conversions."""
    cycles = transfers * (transfer + processor.dma.startup_cycles)
    if problem.all_in_fp64:
        cycles += transfers * conversion_cycles(cpe=processor.cpe, elements=plan.m * plan.n)
    return cycles
