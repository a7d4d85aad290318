"""Convolution straight from main memory: every operand by a load instruction of the CPE that multiplies it.

What a port that knows nothing of LDM and DMA does. A load takes a whole memory transaction for a number or a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.tap_cycles import form_of, product_cycles
from nnlib.kernels.convolutions.tap_product import PartSize, Step, TapProduct
from nnlib.kernels.kernel import Arguments, Parameter, UnsuitablePlan
from nnlib.precision import DTYPES, DTypeName
from sim.chip.global_access import GlobalAccess
from sim.chip.memory import Array
from sim.chip.tile import Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class DirectConvolution:
    """The ``direct`` plan: every multiply-add loads both of its operands from main memory, and nothing is kept.

    ``vectorised``: four neighbouring channels an instruction, which need channels in multiples of a vector.
    """

    convolution: Convolution
    which: Pass
    dtype: DTypeName
    vectorised: bool = False

    @property
    def name(self) -> str:
        return f"conv2d_{self.which}_direct"

    @property
    def part(self) -> PartSize:
        """What a CPE does between two looks at its clock. Nothing is kept, so its size changes no count of loads."""
        m, n, k = TapProduct(convolution=self.convolution, which=self.which, part=PartSize(1, 1, 1)).extent
        return PartSize(1 if self.which != "weight_gradient" else min(m, 8), min(n, 32), min(k, 128))

    def product(self) -> TapProduct:
        return TapProduct(convolution=self.convolution, which=self.which, part=self.part)

    def parameters(self) -> tuple[Parameter, ...]:
        return self.product().parameters()

    def reference(self, arrays: Mapping[str, Array]) -> None:
        self.product().reference(arrays)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises UnsuitablePlan if vectors do not fit the channels, UnalignedAccess by addresses."""
        lanes = core_group.cpe.vector_lanes if self.vectorised else 1
        convolution = self.convolution
        if convolution.group_ni % lanes or convolution.group_no % lanes:
            reason = (
                f"vectors of {lanes} need channels in multiples of {lanes} in each group, not "
                f"{convolution.group_ni} and {convolution.group_no}"
            )
            raise UnsuitablePlan(kernel=self.name, reason=reason)
        _DirectProgram(self, core_group, arguments, lanes).run()


class _DirectProgram:
    """State of the tile program: values that pass through registers, no LDM."""

    def __init__(self, kernel: DirectConvolution, core_group: CoreGroup, arguments: Arguments, lanes: int) -> None:
        self.kernel, self.core_group, self.lanes = kernel, core_group, lanes
        self.product = kernel.product()
        self.arrays = self.product.operands(arguments)
        dtype = DTYPES[kernel.dtype]
        self.a, self.b, self.c = (
            Tile(name=name, size=size, dtype=dtype, split=None, mesh=core_group.mesh, numerics=core_group.numerics)
            for name, size in zip("abc", self.product.tile_sizes, strict=True)
        )
        self.flops = kernel.convolution.flops

    def run(self) -> None:
        group, part = self.core_group, self.product.part
        for step in self.product.steps(group):
            group.global_load("load operands", *self.accesses(step))

            def multiply(step: Step = step) -> None:
                products = self.product.product(self.a.values(), self.b.values())
                sums = self.c.values().reshape(group.cpes, part.m, part.n)
                sums[...] = products if step.first else sums + products

            group.compute(
                "multiply",
                cycles=lambda step=step: product_cycles(  # type: ignore[misc]
                    group.timed, step, which=self.kernel.which, vectorised=self.kernel.vectorised
                ),
                reads=(self.a, self.b) if step.first else (self.a, self.b, self.c),
                writes=(self.c,),
                flops=self.flops,
                run=multiply,
            )
            self.flops = 0
            if step.last:
                width = 1 if form_of(self.kernel.which) == "dot" else self.lanes
                starts = self.product.output(step.work)
                group.global_store("store outputs", GlobalAccess(self.c, self.arrays[2], starts, width=width))
            if step.row_ends:
                group.sync("row of pixels")

    def accesses(self, step: Step) -> tuple[GlobalAccess, GlobalAccess]:
        """The operands' loads: one of each for every multiply-add."""
        m, n, _ = step.size.T
        a, b, _ = self.arrays
        if form_of(self.kernel.which) == "dot":
            return (
                GlobalAccess(self.a, a, step.a, times=n, width=self.lanes),
                GlobalAccess(self.b, b, step.b, times=m, width=self.lanes),
            )
        return (
            GlobalAccess(self.a, a, step.a, times=-(-n // self.lanes)),
            GlobalAccess(self.b, b, step.b, times=m, width=self.lanes),
        )
