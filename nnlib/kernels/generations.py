"""Library generations: which plans and instruction schedules a library of a given time had.

Published results differ by 2.6 times between two generations of one library on the same chip, so the generation is a
choice of the mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from nnlib.kernels.kernel import UnsuitablePlan
from nnlib.precision import DTypeName
from sim.chip.memory import PRIVATE, MemoryUse
from sim.machine.spec import MeshSpec, ProcessorSpec

Library: TypeAlias = Literal["naive", "swdnn-2016", "swdnn-2017", "swcaffe-2018", "autotuned-2019"]
DEFAULT_LIBRARY: Final[Library] = "autotuned-2019"


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A generation of the library.

    ``schedule``: of the GEMM micro-kernel. ``convolutions``: names of the convolution plans it had. ``memory``: how its
    jobs use the memory, except for how many core groups do. ``converts_fp32``: implicit convolutions turn fp32
    operands into fp64 in the LDM, so that the fp64 micro-kernel serves both (SWCAFFE §IV.A); else they are multiplied
    as fp32, with more instructions for each k-step (TACO18 §3.7).
    """

    name: Library
    schedule: str
    convolutions: tuple[str, ...]
    memory: MemoryUse = PRIVATE
    converts_fp32: bool = False

    def converts(self, dtype: DTypeName, mesh: MeshSpec) -> bool:
        """True if implicit convolutions turn operands of ``dtype`` into fp64 as they arrive.

        With remote access in place of register communication nothing is gained by that: any format can be loaded.
        """
        return dtype == "fp32" and self.converts_fp32 and mesh.remote is None

    def check_has(self, plan: str) -> None:
        """Raise UnsuitablePlan unless it had this plan of a convolution."""
        if plan not in self.convolutions:
            had = ", ".join(self.convolutions)
            raise UnsuitablePlan(kernel=plan, reason=f"library {self.name} has no such plan; it has {had}")

    def k_step_residual(self, processor: ProcessorSpec) -> float:
        """Cycles of a k-step that no mechanism explains, from the machine file."""
        return processor.cpe.pipeline.k_step_residual(self.name)


GENERATIONS: Final[Mapping[Library, Generation]] = {
    generation.name: generation
    for generation in (
        Generation(name="naive", schedule="compiler", convolutions=("direct", "dma")),
        Generation(
            name="swdnn-2016",
            schedule="swdnn-2016",
            convolutions=("batch-size-aware",),
            # "all-chip share" (R-swDNN); the offset is fitted to its logs, rows with 16 output rows
            memory=MemoryUse(mode="shared", common_offset=32),
        ),
        Generation(
            name="swdnn-2017",
            schedule="swdnn-2016",
            convolutions=("image-size-aware", "batch-size-aware"),
            # as in 2016; 16 B is what a large malloc returns (R-swDNN)
            memory=MemoryUse(mode="shared", base_offset=16),
        ),
        Generation(
            name="swcaffe-2018",
            schedule="swdnn-2016",
            convolutions=("image-size-aware", "batch-size-aware", "explicit"),
            converts_fp32=True,
        ),
        Generation(
            name="autotuned-2019",
            schedule="autotuned-2019",
            # the depthwise kernels are ours: none were published for this machine
            convolutions=("image-size-aware", "batch-size-aware", "explicit", "winograd", "depthwise"),
            converts_fp32=True,
        ),
    )
}
