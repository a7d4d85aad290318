"""What ranks plans before any is simulated: transfers and mesh products by themselves, and tile sizes worth trying.

Estimates, not predictions: nothing overlaps here, and a transfer's blocks lie as a request finds them.
"""

from __future__ import annotations

from sim.machine.spec import DmaSpec, ProcessorSpec


def doubling(length: int, *, least: int = 1) -> list[int]:
    """Parts of ``length``: ``least`` times powers of two below it, and itself."""
    parts = []
    part = least
    while part < length:
        parts.append(part)
        part *= 2
    return [*parts, length]


def block_seconds(dma: DmaSpec, *, blocks: int, run_bytes: int) -> float:
    """Seconds in which the engine serves ``blocks`` blocks of ``run_bytes`` of one CPE, their request not counted."""
    lines = -(-run_bytes // dma.line_bytes)
    return blocks * (lines * dma.line_seconds + dma.block_seconds)


def transfer_cycles(processor: ProcessorSpec, *, blocks: int, run_bytes: int) -> float:
    """Cycles in which the engine serves such a request of every CPE."""
    seconds = processor.dma.request_seconds + block_seconds(processor.dma, blocks=blocks, run_bytes=run_bytes)
    return processor.cpes_per_core_group * seconds * processor.clock_hertz


def mesh_gemm_cycles(
    processor: ProcessorSpec, *, dtype: str, m: int, n: int, k: int, schedule: str, k_step_residual: float = 0.0
) -> float:
    """Cycles of a mesh GEMM whose CPEs have (m × k)·(k × n) parts and come to it together."""
    from sim.chip.pipeline.gemm import gemm_step_cycles  # not all that is planned multiplies

    mesh = processor.mesh
    step = gemm_step_cycles(
        processor=processor, dtype=dtype, m=m, n=n, k=k, schedule=schedule, k_step_residual=k_step_residual
    )
    return mesh.columns * (step + 2 * mesh.latency_cycles)
