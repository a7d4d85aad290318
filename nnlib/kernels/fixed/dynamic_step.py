"""The step of dynamic fixed point: the largest magnitude of a tensor, found by all CPEs, and its power of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.precision.formats import DTYPES, DTypeName, IntegerName
from nnlib.precision.scale import headroom_step
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

EXPONENT_CYCLES: Final = 10
"""To make the power of two of the largest number: its exponent bits, shifted, and a comparison. Constructed."""


@dataclass(frozen=True)
class DynamicStep:
    """``step``: the smallest power of two at which all of ``x`` fit integers of ``storage`` with ``headroom`` bits."""

    elements: int
    dtype: DTypeName
    storage: IntegerName
    headroom: int

    @property
    def name(self) -> str:
        return "dynamic_step"

    def parameters(self) -> tuple[Parameter, ...]:
        return Parameter("x", (self.elements,), "in"), Parameter("step", (1,), "out", dtype="fp64")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["step"][...] = self.step(float(np.abs(arrays["x"]).max()))

    def step(self, largest: float) -> float:
        """The step for numbers up to ``largest``."""
        return headroom_step(largest, self.storage, headroom=self.headroom)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        dtype, cpe, cpes = DTYPES[self.dtype], core_group.cpe, core_group.cpes
        partial = core_group.alloc("largest", size=(1, 1), dtype=dtype, split=Split(rows=0, columns=0))
        rows = plan_rows(
            kernel=self.name,
            rows=self.elements,
            row_bytes=[dtype.itemsize],
            resident=core_group.ldm.used + 64,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def compare(ins: Sequence[Array], _: Sequence[Array]) -> None:
            largest = np.abs(ins[0]).reshape(cpes, rows.per_cpe).max(axis=1, keepdims=True)
            np.maximum(partial.values(), largest, out=partial.values())

        one = stream_cycles(cpe=cpe, body=Body(stores=1), elements=1)
        core_group.compute("clear", cycles=one, writes=[partial], run=clear)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["x"])],
            outputs=[],
            cycles=rows.cycles(Body(loads=1, arithmetic=2), cpe),
            run=compare,
            accumulators=[partial],
        )
        step = core_group.alloc("step", size=(1,), dtype=DTYPES["fp64"])

        def collect() -> None:
            step.values()[...] = 0
            step.values()[0] = self.step(float(partial.values().max()))

        mesh_rows, mesh_columns = core_group.mesh
        each = stream_cycles(cpe=cpe, body=Body(loads=1, stores=1, arithmetic=1), elements=1)
        core_group.row_broadcast("largest along rows")
        in_column = [(mesh_columns - 1) * each if place % mesh_columns == 0 else 0.0 for place in range(cpes)]
        core_group.compute("largest along rows", cycles=in_column, reads=[partial])
        core_group.column_broadcast("largest along column 0")
        last = (mesh_rows - 1) * each + EXPONENT_CYCLES
        at_root = [last if place == 0 else 0.0 for place in range(cpes)]
        core_group.compute("step", cycles=at_root, reads=[partial], writes=[step], run=collect)
        # only CPE (0, 0) has its place inside the array
        starts = np.ones((cpes, 1), dtype=np.int64)
        starts[0] = 0
        core_group.wait(core_group.put(step, arguments["step"], starts))
        core_group.free(step, partial)
