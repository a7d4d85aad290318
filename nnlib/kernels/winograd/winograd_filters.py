"""Winograd's transforms of filters: 9 taps to 16 planes, and its adjoint for the weights' gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Rows, plan_rows, stream
from nnlib.kernels.winograd.winograd_tiles import PLANES, REACH, TAPS, both_sides, filter_matrix
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

FILTER_BODY: Final = Body(loads=9, stores=16, arithmetic=35)
"""G g G^T of a vector of channels: three additions and two halvings for each of 3 columns, then of 4 rows."""
ADJOINT_BODY: Final = Body(loads=16, stores=9, arithmetic=42)
"""G^T u G: four additions, a sum less and a halving for each of 4 columns, then of 3 rows."""


@dataclass(frozen=True, kw_only=True)
class FilterToPlanes:
    """``planes`` (16, ni, no) = G g G^T of the filters in ``weight`` (3, 3, ni, no).

    ``rotated``: of the filters turned by half a turn, as the gradient by the input takes them.
    """

    ni: int
    no: int
    dtype: DTypeName
    rotated: bool = False

    @property
    def name(self) -> str:
        return "winograd_filter_to_planes"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("weight", (TAPS, TAPS, self.ni, self.no), "in"),
            Parameter("planes", (PLANES, self.ni, self.no), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The transform of all filters."""
        arrays["planes"][...] = self.transformed(arrays["weight"]).reshape(PLANES, self.ni, self.no)

    def transformed(self, weight: Array) -> Array:
        """(3, 3, ...) to (4, 4, ...)."""
        return both_sides(filter_matrix(), weight[::-1, ::-1] if self.rotated else weight)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: pairs of channels, double-buffered."""
        rows = _rows(self, core_group.processor)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...] = self.transformed(ins[0].reshape(TAPS, TAPS, -1)).reshape(PLANES, -1)

        pairs = self.ni * self.no
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.copies(arguments["weight"].reshape(TAPS * TAPS, pairs))],
            outputs=[rows.copies(arguments["planes"].reshape(PLANES, pairs))],
            cycles=rows.cycles(FILTER_BODY, core_group.cpe),
            run=run,
        )


@dataclass(frozen=True, kw_only=True)
class PlanesToFilter:
    """``weight`` (3, 3, ni, no) = G^T u G of ``planes`` (16, ni, no): gradients by the filters."""

    ni: int
    no: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "winograd_planes_to_filter"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("planes", (PLANES, self.ni, self.no), "in"),
            Parameter("weight", (TAPS, TAPS, self.ni, self.no), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The transform of all planes."""
        arrays["weight"][...] = self.transformed(arrays["planes"].reshape(REACH, REACH, self.ni, self.no))

    def transformed(self, planes: Array) -> Array:
        """(4, 4, ...) to (3, 3, ...)."""
        return both_sides(filter_matrix().T, planes)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: pairs of channels, double-buffered."""
        rows = _rows(self, core_group.processor)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...] = self.transformed(ins[0].reshape(REACH, REACH, -1)).reshape(TAPS * TAPS, -1)

        pairs = self.ni * self.no
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.copies(arguments["planes"].reshape(PLANES, pairs))],
            outputs=[rows.copies(arguments["weight"].reshape(TAPS * TAPS, pairs))],
            cycles=rows.cycles(ADJOINT_BODY, core_group.cpe),
            run=run,
        )


def _rows(kernel: FilterToPlanes | PlanesToFilter, processor: ProcessorSpec) -> Rows:
    item = DTYPES[kernel.dtype].itemsize
    return plan_rows(
        kernel=kernel.name,
        rows=kernel.ni * kernel.no,
        row_bytes=[TAPS * TAPS * item, PLANES * item],
        resident=0,
        processor=processor,
    )
