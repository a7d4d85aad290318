"""Cycles of a step of the mesh GEMM: the interface that kernels use."""

from __future__ import annotations

from dataclasses import replace

from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.costs import GemmCosts, gemm_costs
from sim.chip.pipeline.micro_kernel import BLOCK_VECTORS
from sim.chip.pipeline.schedules import DEFAULT_SCHEDULE, SCHEDULES, is_integer, schedule_for
from sim.machine.spec import ProcessorSpec


def gemm_step_cycles(
    *,
    processor: ProcessorSpec,
    dtype: str,
    m: int,
    n: int,
    k: int,
    schedule: str = DEFAULT_SCHEDULE,
    k_step_residual: float = 0.0,
) -> float:
    """Cycles of one mesh step over a CPE's (m × k)·(k × n) part, without the latencies of its two broadcasts.

    Those tie the clocks of rows and columns and are added where the clocks are, in the core group. The vector axis
    (16 outputs of a register block) is laid along the one of m and n that wastes less. Integers have 32-bit
    operands and sums, a schedule of their own and blocks of 32 outputs by 3. A schedule that converts
    fp32 operands does so once for all steps; each step bears its share. ``k_step_residual`` is added to each
    k-step. Raises KeyError for an unknown schedule.
    """
    cpe = processor.cpe
    costs = gemm_costs(processor=processor, dtype=dtype, schedule=schedule)
    costs = replace(costs, k_step=costs.k_step + k_step_residual)
    scalars = schedule_for(schedule, dtype=dtype, fixed_point=cpe.fixed_point).scalars
    block = (BLOCK_VECTORS * (cpe.fixed_point.vector_lanes if is_integer(dtype) else cpe.vector_lanes), scalars)
    along_m = _blocks(costs, block, vector=m, scalar=n, k=k)
    along_n = _blocks(costs, block, vector=n, scalar=m, k=k)
    cycles = costs.mesh_step - costs.latency + min(along_m, along_n)
    if SCHEDULES[schedule].converts(dtype):
        parts = conversion_cycles(cpe=cpe, elements=m * k) + conversion_cycles(cpe=cpe, elements=k * n)
        cycles += parts / processor.mesh.columns
    return cycles


def _blocks(costs: GemmCosts, block: tuple[int, int], *, vector: int, scalar: int, k: int) -> float:
    rows, columns = -(-vector // block[0]), -(-scalar // block[1])
    return rows * costs.row + rows * columns * (costs.block + k * costs.k_step)
