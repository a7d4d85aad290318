"""Cycles of loops that stream through the LDM, from what their body needs of the pipes."""

from __future__ import annotations

from dataclasses import dataclass

from sim.machine.spec import CpeSpec


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


def stream_cycles(*, cpe: CpeSpec, body: Body, elements: int) -> float:
    """Cycles of a streaming loop over ``elements``, one vector at a time, unrolled until the pipes are full."""
    vectors = -(-elements // cpe.vector_lanes)
    pipe_zero = body.arithmetic
    pipe_one = body.loads + body.stores
    serial = 0
    if body.divides or body.exponentials:
        serial = cpe.vector_lanes * (body.divides * cpe.pipeline.divide + body.exponentials * cpe.pipeline.exponential)
    fill = cpe.pipeline.vector_load + cpe.pipeline.floating + cpe.pipeline.loop_overhead
    return vectors * (max(pipe_zero, pipe_one) + serial) + fill


def transpose_cycles(*, cpe: CpeSpec, elements: int) -> float:
    """Cycles to transpose a tile inside the LDM: per vector a load, a store and one shuffle per lane."""
    vectors = -(-elements // cpe.vector_lanes)
    return float(vectors * max(2, cpe.vector_lanes * cpe.pipeline.shuffle) + cpe.pipeline.loop_overhead)
