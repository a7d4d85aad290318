"""A matrix product over the mesh: what its broadcast steps cost, and its numbers (SWDNN17 Fig. 3).

At step t column t broadcasts its part of a along the rows and row t its part of b along the columns.
"""

from __future__ import annotations

import numpy as np

from sim.chip.pipeline.gemm import gemm_step_cycles
from sim.chip.program import MeshSteps
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec
from sim.time import ticks_from_cycles


def mesh_gemm_steps(
    label: str,
    *,
    c: Tile,
    a: Tile,
    transpose_a: bool,
    processor: ProcessorSpec,
    schedule: str,
    k_step_residual: float,
) -> MeshSteps:
    """As many steps as the mesh has columns, each of a CPE's (m × k)·(k × n) parts."""
    m, n = c.size
    cycles = gemm_step_cycles(
        processor=processor,
        dtype=f"{'int' if c.dtype.kind == 'i' else 'fp'}{8 * c.dtype.itemsize}",
        m=m,
        n=n,
        k=a.size[0] if transpose_a else a.size[1],
        schedule=schedule,
        k_step_residual=k_step_residual,
    )
    steps = processor.mesh.columns
    return MeshSteps(steps, steps * ticks_from_cycles(cycles), label)


def multiply(*, c: Tile, a: Tile, b: Tile, transpose_a: bool, transpose_b: bool, accumulate: bool) -> None:
    """``c (+)= op(a)·op(b)`` with the assembled numbers."""
    left = a.values().T if transpose_a else a.values()
    right = b.values().T if transpose_b else b.values()
    target = c.values()
    if accumulate:
        target += left @ right
    else:
        np.matmul(left, right, out=target)
