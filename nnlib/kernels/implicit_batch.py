"""The implicit convolution plan "batch-size-aware" (SWDNN17 algorithm 2): pixels are matrices of channels × batch.

A pixel of the source, all channels and images of a block, is loaded once per kernel row and multiplied by the weights
of every tap that brings it to a pixel of the target. Data are in the order of :mod:`nnlib.kernels.pixel_major`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnlib.kernels import implicit_batch_pixels, implicit_batch_weights, pixel_major
from nnlib.kernels.convolution import Convolution, Pass
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.implicit_batch_plan import BatchPlan, WeightPlan, plan_pixels, plan_weights
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.precision import DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True, kw_only=True)
class BatchSizeAware:
    """A pass of ``convolution`` as one launch on pixel-major arrays, in the way of a library generation.

    ``schedule``: the micro-kernel's, if not the library's own; what it leaves unexplained then does not count.
    """

    convolution: Convolution
    dtype: DTypeName
    which: Pass = "forward"
    library: Library = DEFAULT_LIBRARY
    schedule: str | None = None

    @property
    def name(self) -> str:
        return f"batch-size-aware {self.which.replace('_', ' ')}"

    def parameters(self) -> tuple[Parameter, ...]:
        """Two inputs and the output."""
        return pixel_major.parameters(self.convolution, self.which)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The pass by whole arrays."""
        pixel_major.reference(self.convolution, self.which, arrays)

    def plan(self, processor: ProcessorSpec) -> BatchPlan | WeightPlan:
        """Tile sizes. Raises InfeasiblePlan if none fits the LDM, or the library's part of it."""
        plan = plan_weights if self.which == "weight_gradient" else plan_pixels
        return plan(
            name=self.name,
            convolution=self.convolution,
            which=self.which,
            dtype=self.dtype,
            library=self.library,
            processor=processor,
        )

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan as :meth:`plan` does."""
        plan = self.plan(core_group.processor)
        if isinstance(plan, WeightPlan):
            implicit_batch_weights.run(
                core_group, arguments, convolution=self.convolution, plan=plan, dtype=self.dtype,
                library=self.library, schedule=self.schedule,
            )  # fmt: skip
        else:
            implicit_batch_pixels.run(
                core_group, arguments, convolution=self.convolution, which=self.which, plan=plan, dtype=self.dtype,
                library=self.library, schedule=self.schedule,
            )  # fmt: skip
