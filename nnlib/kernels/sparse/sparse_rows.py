"""A pass over the rows of one colour of a sparse matrix on a 3-D grid: coefficients and columns stored, 27 a row.

Rows of one colour (the parities of x, y and z) do not know one another, so that a Gauss-Seidel sweep is eight passes,
each of whose rows may come in any order: the result does not depend on how the grid is divided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.streaming import Operand, stream
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

PassKind: TypeAlias = Literal["smooth", "product", "residual"]
POINTS = 27
CENTRE = 13
NUMBER_BYTES = 8
INDEX_BYTES = 4
COLOURS = 8


def parities(colour: int) -> tuple[int, int, int]:
    """Of z, y and x."""
    return colour >> 2 & 1, colour >> 1 & 1, colour & 1


@dataclass(frozen=True)
class SparseRows:
    """One colour's rows of a grid of ``shape`` (z, y, x), all even.

    ``smooth``: x of these rows becomes what solves them. ``product``: out = A·x. ``residual``: out = b − A·x. Arrays:
    coefficients and columns (rows, 27), columns being places in x; b and out (rows,); x with a layer of neighbours
    all around, shape (z + 2, y + 2, x + 2).
    """

    kind: PassKind
    shape: tuple[int, int, int]
    colour: int

    @property
    def name(self) -> str:
        return f"sparse_{self.kind}"

    @property
    def dtype(self) -> Literal["fp64"]:
        return "fp64"

    @property
    def padded(self) -> tuple[int, int, int]:
        z, y, x = self.shape
        return z + 2, y + 2, x + 2

    @property
    def rows(self) -> int:
        z, y, x = self.shape
        return z // 2 * (y // 2) * (x // 2)

    @property
    def reads_b(self) -> bool:
        return self.kind != "product"

    def parameters(self) -> tuple[Parameter, ...]:
        found = [
            Parameter("coefficients", (self.rows, POINTS), "in"),
            Parameter("columns", (self.rows, POINTS), "in", dtype="int32"),
            Parameter("x", self.padded, "inout" if self.kind == "smooth" else "in"),
        ]
        if self.reads_b:
            found.append(Parameter("b", (self.rows,), "in"))
        if self.kind != "smooth":
            found.append(Parameter("out", (self.rows,), "out"))
        return tuple(found)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By one product over all rows."""
        x = arrays["x"].reshape(-1)
        product = np.einsum("rp,rp->r", arrays["coefficients"], x[arrays["columns"]])
        if self.kind == "product":
            arrays["out"][...] = product
        elif self.kind == "residual":
            arrays["out"][...] = arrays["b"] - product
        else:
            arrays["x"].reshape(-1)[arrays["columns"][:, CENTRE]] += (arrays["b"] - product) / arrays["coefficients"][
                :, CENTRE
            ]

    def segment(self, processor: ProcessorSpec) -> int:
        """Rows of a CPE at a time: as long a part of a line as fits the LDM. Raises InfeasiblePlan if none does."""
        line = self.shape[2] // 2
        for parts in range(1, line + 1):
            rows = line // parts
            if line % parts == 0 and self._ldm_bytes(rows) <= processor.cpe.ldm_bytes:
                return rows
        raise InfeasiblePlan(kernel=self.name, needed=self._ldm_bytes(1), available=processor.cpe.ldm_bytes)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: coefficients stream by, with the box of x that they meet. Raises InfeasiblePlan."""
        rows, cpes = self.segment(core_group.processor), core_group.cpes
        number = self.rows // rows
        z, y, x = self.padded
        outside = np.array([z, y, x])

        def segments(iteration: int) -> NDArray[np.int64]:
            return iteration * cpes + np.arange(cpes)

        def by_row(iteration: int) -> Integers:
            return np.stack([segments(iteration) * rows, np.zeros(cpes, dtype=np.int64)], axis=1)

        def by_number(iteration: int) -> Integers:
            return (segments(iteration) * rows)[:, None]

        def box(iteration: int) -> Integers:
            """Where the neighbourhood of a segment begins in x; outside it for none."""
            which = segments(iteration)
            found = self._origins(np.minimum(which, number - 1), rows)
            return np.asarray(np.where((which < number)[:, None], found, outside))

        first = np.array([1, 1, 1 + parities(self.colour)[2]])

        def line(iteration: int) -> Integers:
            return np.asarray(box(iteration) + first)

        seen = (3, 3, 2 * rows + 2)
        inputs = [
            Operand(arguments["coefficients"], (rows, POINTS), by_row, None),
            Operand(arguments["columns"], (rows, POINTS), by_row, None),
            Operand(arguments["x"], seen, box, None),
        ]
        if self.reads_b:
            inputs.append(Operand(arguments["b"], (rows,), by_number, None))
        # points between those of the colour are put back as they came
        target = (1, 1, 2 * rows - 1)
        outputs = [
            Operand(arguments["x"], target, line, None)
            if self.kind == "smooth"
            else Operand(arguments["out"], (rows,), by_number, None)
        ]

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            coefficients, columns, near = ins[:3]
            origin = box(iteration)
            busy = segments(iteration) < number
            places = np.unravel_index(np.where(busy[:, None, None], columns, 0).astype(np.int64), self.padded)
            within = [place - origin[:, axis, None, None] for axis, place in enumerate(places)]
            flat = np.where(busy[:, None, None], (within[0] * 3 + within[1]) * seen[2] + within[2], 0)
            gathered = np.take_along_axis(near.reshape(cpes, -1), flat.reshape(cpes, -1), axis=1)
            product = np.einsum("crp,crp->cr", coefficients, gathered.reshape(coefficients.shape))
            if self.kind == "product":
                outs[0][...] = product
            elif self.kind == "residual":
                outs[0][...] = ins[3] - product
            else:
                outs[0][...] = near[:, 1:2, 1:2, first[2] : first[2] + target[2]]
                with np.errstate(divide="ignore", invalid="ignore"):
                    change = (ins[3] - product) / coefficients[:, :, CENTRE]
                outs[0][:, 0, 0, ::2] += np.where(busy[:, None], change, 0.0)

        cycles = self._row_cycles(core_group.timed) * rows
        stream(
            core_group,
            self.name,
            iterations=-(-number // cpes),
            inputs=inputs,
            outputs=outputs,
            cycles=lambda iteration: [cycles if each else 0.0 for each in segments(iteration) < number],
            run_at=run_at,
            flops=2 * POINTS * self.rows,
        )

    def _ldm_bytes(self, rows: int) -> int:
        """Two buffers of everything."""
        seen = 9 * (2 * rows + 2) * NUMBER_BYTES
        target = (2 * rows - 1 if self.kind == "smooth" else rows) * NUMBER_BYTES
        sizes = [rows * POINTS * NUMBER_BYTES, rows * POINTS * INDEX_BYTES, seen, target]
        if self.reads_b:
            sizes.append(rows * NUMBER_BYTES)
        return 2 * sum(aligned(size) for size in sizes)

    def _origins(self, segments: NDArray[np.int64], rows: int) -> Integers:
        """Of the boxes of segments, which follow one another in x, then y, then z."""
        _, y, x = self.shape
        along = x // 2 // rows
        line, part = np.divmod(segments, along)
        plane, column = np.divmod(line, y // 2)
        # the layer of neighbours puts a point one further; its box begins one before it
        near = parities(self.colour)
        return np.stack([2 * plane + near[0], 2 * column + near[1], 2 * rows * part], axis=1)

    def _row_cycles(self, processor: ProcessorSpec) -> float:
        """A row's loads of its coefficients, columns and gathered numbers in P1, its multiply-adds in P0."""
        pipeline = processor.cpe.pipeline
        loads = POINTS // processor.cpe.vector_lanes + 2 * POINTS
        return max(loads, POINTS) + (pipeline.divide + pipeline.floating if self.kind == "smooth" else 0)


def colour_places(shape: tuple[int, int, int], colour: int) -> NDArray[np.int64]:
    """Places in x, with its layer of neighbours, of a colour's rows, in their order."""
    z, y, x = shape
    near = parities(colour)
    axes = [np.arange(first, length, 2) + 1 for first, length in zip(near, (z, y, x), strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    return np.ravel_multi_index([axis.ravel() for axis in grid], (z + 2, y + 2, x + 2)).astype(np.int64)


def neighbours(shape: tuple[int, int, int], colour: int) -> NDArray[np.int32]:
    """Columns of a colour's rows: the 27 points around each, itself in the middle."""
    _, y, x = shape
    steps = np.arange(-1, 2)
    around = (steps[:, None, None] * (y + 2) + steps[:, None]) * (x + 2) + steps
    return (colour_places(shape, colour)[:, None] + around.ravel()).astype(np.int32)
