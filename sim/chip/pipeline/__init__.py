"""A CPE's two in-order pipes: instruction lists run on a scoreboard, and what the inner loops of kernels cost."""

from sim.chip.pipeline.costs import GemmCosts, gemm_costs
from sim.chip.pipeline.gemm import gemm_step_cycles
from sim.chip.pipeline.micro_kernel import BLOCK_VECTORS
from sim.chip.pipeline.schedules import DEFAULT_SCHEDULE, SCHEDULES
from sim.chip.pipeline.streaming import Body, stream_cycles, transpose_cycles

__all__ = [
    "BLOCK_VECTORS",
    "DEFAULT_SCHEDULE",
    "SCHEDULES",
    "Body",
    "GemmCosts",
    "gemm_costs",
    "gemm_step_cycles",
    "stream_cycles",
    "transpose_cycles",
]
