"""The implicit convolution plan "batch-size-aware" (SWDNN17 algorithm 2): pixels are matrices of channels × batch.

A pixel of the source, all channels and images of a block, is loaded once per kernel row and multiplied by the weights
of every tap that brings it to a pixel of the target. Data are in the order of
:mod:`nnlib.kernels.implicit.pixel_major`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.implicit import implicit_batch_pixels, implicit_batch_weights, pixel_major
from nnlib.kernels.implicit.implicit_batch_plan import BatchPlan, WeightPlan, plan_pixels, plan_weights, product_seconds
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.precision import DTypeName
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


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
        return f"conv2d_{self.which}_batch_size_aware"

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

    def least_seconds(self, processor: ProcessorSpec) -> float:
        """What the products alone take, one mesh GEMM for each block and each pair of pixels that a tap joins."""
        convolution, plan, mesh = self.convolution, self.plan(processor), processor.mesh
        ins, outs = convolution.group_ni, convolution.group_no
        if isinstance(plan, WeightPlan):
            sizes = (plan.outs, plan.ins, plan.batch)
            lengths = (outs, ins, convolution.batch)
        else:
            target, source = (ins, outs) if self.which == "input_gradient" else (outs, ins)
            sizes = (plan.target, plan.batch, plan.source)
            lengths = (target, convolution.batch, source)
        blocks = prod(-(-length // (size * mesh.rows)) for length, size in zip(lengths, sizes, strict=True))
        pairs = prod(Taps.of(convolution, self.which, "rows" if axis == 0 else "columns").pairs for axis in range(2))
        m, n, k = sizes
        one = product_seconds(processor, dtype=self.dtype, library=self.library, m=m, n=n, k=k)
        return convolution.groups * blocks * pairs * one

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
