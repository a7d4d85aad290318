"""Cycles of a CPE's inner loops: a table of costs per micro-kernel step.

The interface that kernels use; the numbers come from the machine file (see ``processor.cpe.pipeline`` there).
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.machine.spec import CpeSpec, GemmCycles

BLOCK_VECTORS = 4
"""Register block of the GEMM micro-kernel: 4 × 4 vector accumulators, 16 × 4 outputs (SWDNN17 §VI)."""


@dataclass(frozen=True)
class Body:
    """Instructions of one vector of a streaming loop, by what they need.

    ``arithmetic`` instructions enter P0, ``loads`` and ``stores`` P1; ``divides`` and ``exponentials`` are not
    pipelined and cost their whole latency per lane.
    """

    loads: int = 0
    stores: int = 0
    arithmetic: int = 0
    divides: int = 0
    exponentials: int = 0


def gemm_step_cycles(*, cpe: CpeSpec, dtype: str, m: int, n: int, k: int) -> float:
    """Cycles of one mesh step over a CPE's (m × k)·(k × n) part.

    The vector axis (16 outputs of a register block) is laid along the one of m and n that wastes less.
    """
    costs = cpe.pipeline.gemm(dtype)
    along_m = _blocks(costs, cpe, vector=m, scalar=n, k=k)
    along_n = _blocks(costs, cpe, vector=n, scalar=m, k=k)
    return costs.mesh_step + min(along_m, along_n)


def _blocks(costs: GemmCycles, cpe: CpeSpec, *, vector: int, scalar: int, k: int) -> float:
    rows = -(-vector // (BLOCK_VECTORS * cpe.vector_lanes))
    columns = -(-scalar // BLOCK_VECTORS)
    return rows * costs.row + rows * columns * (costs.block + k * costs.k_step)


def stream_cycles(*, cpe: CpeSpec, body: Body, elements: int) -> float:
    """Cycles of a streaming loop over ``elements``, one vector at a time, unrolled until the pipes are full."""
    vectors = -(-elements // cpe.vector_lanes)
    pipe_zero = body.arithmetic
    pipe_one = body.loads + body.stores
    serial = cpe.vector_lanes * (body.divides * cpe.pipeline.divide + body.exponentials * cpe.pipeline.exponential)
    fill = cpe.pipeline.vector_load + cpe.pipeline.floating + cpe.pipeline.loop_overhead
    return vectors * (max(pipe_zero, pipe_one) + serial) + fill


def transpose_cycles(*, cpe: CpeSpec, elements: int) -> float:
    """Cycles to transpose a tile inside the LDM: per vector a load, a store and one shuffle per lane."""
    vectors = -(-elements // cpe.vector_lanes)
    return float(vectors * max(2, cpe.vector_lanes * cpe.pipeline.shuffle) + cpe.pipeline.loop_overhead)
