"""Cycles of a step of the mesh GEMM: the interface that kernels use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.costs import GemmCosts, gemm_costs
from sim.chip.pipeline.micro_kernel import BLOCK_VECTORS
from sim.chip.pipeline.schedules import DEFAULT_SCHEDULE, SCHEDULES, is_integer, schedule_for
from sim.machine.spec import MeshSpec, ProcessorSpec, RemoteAccessSpec


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
    (four vectors of outputs of a register block) is laid along the one of m and n that wastes less. Integers have
    32-bit operands and sums, a schedule of their own and blocks of four vectors by 3. A schedule that converts
    fp32 operands does so once for all steps; each step bears its share. ``k_step_residual`` is added to each
    k-step. With remote access, see :func:`_remote_cycles`. Raises KeyError for an unknown schedule.
    """
    cpe, mesh = processor.cpe, processor.mesh
    converts = SCHEDULES[schedule].converts(dtype, mesh)
    costs = gemm_costs(processor=processor, dtype=dtype, schedule=schedule)
    costs = replace(costs, k_step=costs.k_step + k_step_residual)
    scalars = schedule_for(schedule, dtype=dtype, fixed_point=cpe.fixed_point).scalars
    lanes = cpe.fixed_point.vector_lanes if is_integer(dtype) else cpe.lanes("fp64" if converts else dtype)
    block = (BLOCK_VECTORS * lanes, scalars)

    def step(depth: int) -> float:
        """With ``depth`` of the k-steps."""
        along_m = _blocks(costs, block, vector=m, scalar=n, k=depth)
        along_n = _blocks(costs, block, vector=n, scalar=m, k=depth)
        return costs.mesh_step - costs.latency + min(along_m, along_n)

    if mesh.remote is not None:
        column_bytes = (m + n) * (8 if dtype == "fp64" else 4)
        return _remote_cycles(mesh, mesh.remote, step=step, k=k, column_bytes=column_bytes)
    cycles = step(k)
    if converts:
        parts = conversion_cycles(cpe=cpe, elements=m * k) + conversion_cycles(cpe=cpe, elements=k * n)
        cycles += parts / mesh.columns
    return cycles


def _remote_cycles(
    mesh: MeshSpec, remote: RemoteAccessSpec, *, step: Callable[[int], float], k: int, column_bytes: int
) -> float:
    """A mesh step whose operands are copied into all LDMs of the row and the column by remote access.

    They come in pieces of as many k-steps as half of the receive buffer holds, ``column_bytes`` for each k-step, while
    the piece before is multiplied. Only the first piece of all steps hides under nothing; each step bears its share.
    A piece after the first has to be waited for as a step has, with two latencies.
    """
    held = max(1, remote.buffer_bytes // 2 // column_bytes)
    full, left = divmod(k, held)

    def copied(depth: int) -> float:
        return remote.startup_cycles + depth * column_bytes / mesh.transfer_bytes

    def piece(depth: int) -> float:
        return max(step(depth), copied(depth))

    cycles = full * piece(held) + (piece(left) if left else 0.0)
    pieces = full + (left > 0)
    return cycles + (pieces - 1) * 2 * mesh.latency_cycles + copied(min(k, held)) / mesh.columns


def _blocks(costs: GemmCosts, block: tuple[int, int], *, vector: int, scalar: int, k: int) -> float:
    rows, columns = -(-vector // block[0]), -(-scalar // block[1])
    return rows * costs.row + rows * columns * (costs.block + k * costs.k_step)
