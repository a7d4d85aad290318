"""Sums over rows: every CPE adds its rows in its LDM, then the mesh adds the CPEs' partial sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import column_blocks, plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


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
        item = DTYPES[self.dtype].itemsize
        for columns in column_blocks(
            self.columns,
            needed=lambda width: 3 * aligned(width * item),  # partial sums, and two rows of what comes
            kernel=self.name,
            processor=core_group.processor,
        ):
            self.add(core_group, arguments, columns)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of columns."""
        dtype = DTYPES[self.dtype]
        cpe = core_group.cpe
        cpes, width = core_group.cpes, len(columns)
        partial = core_group.alloc("partial", size=(1, width), dtype=dtype, split=Split(rows=0, columns=0))
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[width * dtype.itemsize],
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def clear() -> None:
            partial.values()[...] = 0

        def add(ins: Sequence[Array], _: Sequence[Array]) -> None:
            x = ins[0].reshape(cpes, rows.per_cpe, width)
            sums = partial.values()
            sums += (x * x if self.squared else x).sum(axis=1)

        core_group.compute(
            "clear partial sums",
            cycles=stream_cycles(cpe=cpe, body=Body(stores=1), elements=width),
            writes=[partial],
            run=clear,
        )
        body = Body(loads=2, stores=1, arithmetic=1)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["x"], columns=columns)],
            outputs=[],
            cycles=rows.cycles(body, cpe, row_elements=width),
            run=add,
            flops=self.rows * width * (2 if self.squared else 1),
            accumulators=[partial],
        )
        self.add_over_mesh(core_group, partial, arguments["total"], columns)
        core_group.free(partial)

    def add_over_mesh(self, core_group: CoreGroup, partial: Tile, total: MemoryArray, columns: range) -> None:
        """Along the rows to column 0, along column 0 to CPE (0, 0), which puts the result."""
        cpe = core_group.cpe
        mesh_rows, mesh_columns = core_group.mesh
        cpes = core_group.cpes
        body = Body(loads=1, stores=1, arithmetic=1)
        one = stream_cycles(cpe=cpe, body=body, elements=len(columns))
        result = core_group.alloc("total", size=(len(columns),), dtype=partial.dtype)

        def collect() -> None:
            result.values()[...] = 0
            result.values()[0] = partial.values().sum(axis=0)

        core_group.row_broadcast("add along rows")
        in_column = [(mesh_columns - 1) * one if place % mesh_columns == 0 else 0.0 for place in range(cpes)]
        core_group.compute("add along rows", cycles=in_column, reads=[partial])
        core_group.column_broadcast("add along column 0")
        at_root = [(mesh_rows - 1) * one if place == 0 else 0.0 for place in range(cpes)]
        core_group.compute("add along column 0", cycles=at_root, reads=[partial], writes=[result], run=collect)
        # only CPE (0, 0) has its place inside the array
        starts = np.full((cpes, 1), self.columns)
        starts[0] = columns.start
        core_group.wait(core_group.put(result, total, starts))
        core_group.free(result)
