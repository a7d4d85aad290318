"""The four costs to which a mesh GEMM is linear, from running the scoreboards of a piece of mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sim.chip.pipeline.mesh import MeshRun
from sim.chip.pipeline.schedules import GemmShape, Schedule, gemm_program, schedule_for
from sim.machine.spec import FixedPointSpec, MeshSpec, PipelineSpec, ProcessorSpec

LATENCIES_PER_STEP = 2
"""Latencies of register communication in a mesh step: the sender of the next step receives from a receiver."""

_SIZE = 2
"""Rows and columns of the piece of mesh: all four roles; larger pieces give the same costs (tested)."""
_K = (4, 6)
"""Numbers of k-steps between which a k-step is measured; more give the same (tested)."""


@dataclass(frozen=True, kw_only=True)
class GemmCosts:
    """Cycles of a mesh GEMM for the slowest role, which holds the mesh.

    A mesh step over a CPE's part takes ``mesh_step + rows·row + blocks·(block + k·k_step)`` cycles, with register
    blocks of four vectors × 4 outputs, or × 3 of integers. ``residual`` is the unexplained part of ``mesh_step``, from
    the machine file, and ``latency`` the part of it that is register communication under way.
    """

    k_step: float
    block: float
    row: float
    mesh_step: float
    residual: float
    latency: float


def gemm_costs(*, processor: ProcessorSpec, dtype: str, schedule: str) -> GemmCosts:
    """The costs of a schedule on a processor's pipelines and mesh. Raises KeyError for an unknown schedule."""
    cpe = processor.cpe
    return _gemm_costs(cpe.pipeline, cpe.fixed_point, processor.mesh, dtype, schedule)


@lru_cache(maxsize=256)
def _gemm_costs(
    pipeline: PipelineSpec, fixed_point: FixedPointSpec, mesh: MeshSpec, dtype: str, schedule: str
) -> GemmCosts:
    found = schedule_for(schedule, dtype=dtype, fixed_point=fixed_point)
    return _schedule_costs(pipeline, mesh, dtype, found)


def _schedule_costs(pipeline: PipelineSpec, mesh: MeshSpec, dtype: str, schedule: Schedule) -> GemmCosts:
    local = mesh.remote is not None
    size = 1 if local else min(_SIZE, mesh.rows, mesh.columns)
    few, many = _K

    def run(*, rows: int = 1, columns: int = 1, k: int = few) -> float:
        """Cycles per mesh step."""
        shape = GemmShape(rows=rows, columns=columns, k=k, steps=size)
        program = gemm_program(schedule=schedule, dtype=dtype, shape=shape, local=local)
        return MeshRun(size=size, program=program, pipeline=pipeline, mesh=mesh).run() / size

    least = run()
    k_step = (run(k=many) - least) / (many - few)
    block = run(columns=2) - least - few * k_step
    row = run(rows=2) - least - block - few * k_step
    return GemmCosts(
        k_step=k_step,
        block=block,
        row=row,
        mesh_step=least - row - block - few * k_step + pipeline.gemm_mesh_step_residual,
        residual=pipeline.gemm_mesh_step_residual,
        latency=LATENCIES_PER_STEP * mesh.latency_cycles if size > 1 else 0,
    )
