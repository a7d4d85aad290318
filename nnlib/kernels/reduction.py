"""Sums over rows: every CPE adds its rows in its LDM, then the mesh adds the CPEs' partial sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline import Body, stream_cycles
from sim.chip.tile import Split, Tile


@dataclass(frozen=True)
class ColumnSum:
    """``total[c] = sum over rows of x[r, c]``, or of its square: a bias gradient, a squared norm."""

    rows: int
    columns: int
    dtype: DTypeName
    squared: bool = False

    @property
    def name(self) -> str:
        return "sum_of_squares" if self.squared else "column_sum"

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", (self.rows, self.columns), "in"), Parameter("total", (self.columns,), "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        x = arrays["x"]
        arrays["total"][...] = (x * x if self.squared else x).sum(axis=0)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        dtype = DTYPES[self.dtype]
        cpe = core_group.processor.cpe
        cpes = core_group.cpes
        partial = core_group.alloc("partial", size=(1, self.columns), dtype=dtype, split=Split(rows=0, columns=0))
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[self.columns * dtype.itemsize],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def add(ins: Sequence[Array], _: Sequence[Array]) -> None:
            x = ins[0].reshape(cpes, rows.per_cpe, self.columns)
            sums = partial.values()
            sums += (x * x if self.squared else x).sum(axis=1)

        core_group.compute(
            "clear partial sums",
            cycles=stream_cycles(cpe=cpe, body=Body(stores=1), elements=self.columns),
            writes=[partial],
            run=clear,
        )
        body = Body(loads=2, stores=1, arithmetic=1)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            inputs=[rows.operand(arguments["x"])],
            outputs=[],
            cycles=rows.cycles(body, cpe, row_elements=self.columns),
            run=add,
            flops=self.rows * self.columns * (2 if self.squared else 1),
            accumulators=[partial],
        )
        self.add_over_mesh(core_group, partial, arguments["total"])
        core_group.free(partial)

    def add_over_mesh(self, core_group: CoreGroup, partial: Tile, total: MemoryArray) -> None:
        """Along the rows to column 0, along column 0 to CPE (0, 0), which puts the result."""
        cpe = core_group.processor.cpe
        rows, columns = core_group.mesh
        cpes = core_group.cpes
        body = Body(loads=1, stores=1, arithmetic=1)
        one = stream_cycles(cpe=cpe, body=body, elements=self.columns)
        result = core_group.alloc("total", size=(self.columns,), dtype=partial.dtype)

        def collect() -> None:
            result.values()[...] = 0
            result.values()[0] = partial.values().sum(axis=0)

        core_group.row_broadcast("add along rows")
        in_column = [(columns - 1) * one if place % columns == 0 else 0.0 for place in range(cpes)]
        core_group.compute("add along rows", cycles=in_column, reads=[partial])
        core_group.column_broadcast("add along column 0")
        at_root = [(rows - 1) * one if place == 0 else 0.0 for place in range(cpes)]
        core_group.compute("add along column 0", cycles=at_root, reads=[partial], writes=[result], run=collect)
        # only CPE (0, 0) has its place inside the array
        starts = np.full((cpes, 1), self.columns)
        starts[0] = 0
        core_group.wait(core_group.put(result, total, starts))
        core_group.free(result)
