"""What a recurrent layer goes over, and where the arrays of a step's gates lie among the layer's.

Arrays have time in front. Those of the states have a plane more than there are steps: the initial states lie before the
first step's, in the direction in which the layer goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from nnlib.kernels.batched import plane
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.sequences.recurrent_cell import RecurrentCell
from nnlib.kernels.sequences.recurrent_gates import GATES, CellName
from nnlib.ops.simple_recurrent import CEILING
from nnlib.precision import DTypeName
from sim.chip.memory import Array, MemoryArray

BEFORE: Final = {"cell": "cells", "hidden": "hidden"}
"""Parameters of a cell that lie in the plane before a step, and the layer's arrays that they lie in."""
AFTER: Final = {"new_cell": "cells", "new_hidden": "hidden"}
CARRIED: Final = {"grad_before": "grad_hidden", "grad_cell_before": "grad_cell"}
"""Gradients that replace those they were made of."""


@dataclass(frozen=True, kw_only=True)
class RecurrentShape:
    """``steps`` of a ``batch`` with ``hidden`` units; ``masked``: with sequences of different lengths."""

    cell: CellName
    batch: int
    steps: int
    hidden: int
    masked: bool = False
    reverse: bool = False
    ceiling: float = CEILING
    bias: bool = True

    @property
    def columns(self) -> int:
        """Of a product: all gates."""
        return GATES[self.cell] * self.hidden

    def step(self, number: int) -> int:
        """The step that comes as ``number``."""
        return self.steps - 1 - number if self.reverse else number

    def before(self, step: int) -> int:
        """The plane of the states before a step."""
        return step + 1 if self.reverse else step

    def after(self, step: int) -> int:
        """The plane of the states after a step."""
        return step if self.reverse else step + 1

    def place(self, name: str, step: int) -> tuple[str, int | None]:
        """The layer's array, and its plane, in which a cell's array ``name`` lies; None: it has no steps."""
        if name in BEFORE:
            return BEFORE[name], self.before(step)
        if name in AFTER:
            return AFTER[name], self.after(step)
        if name in CARRIED:
            return CARRIED[name], None
        if name == "h_product":  # it is used up where the step's result comes
            return ("gates", step) if GATES[self.cell] > 1 else ("hidden", self.after(step))
        return name, None if name in ("candidate_bias", "grad_hidden", "grad_cell") else step

    def of_cell(self, dtype: DTypeName, *, gradient: bool) -> RecurrentCell:
        return RecurrentCell(
            cell=self.cell,
            batch=self.batch,
            hidden=self.hidden,
            dtype=dtype,
            direction="gradient" if gradient else "forward",
            masked=self.masked,
            ceiling=self.ceiling,
            bias=self.bias,
        )

    def planes(self, parameter: Parameter) -> Parameter:
        """A cell's parameter as the layer's, of all steps."""
        name, at = self.place(parameter.name, 0)
        if at is None:
            return replace(parameter, name=name)
        count = self.steps + 1 if name in BEFORE.values() else self.steps
        return replace(parameter, name=name, shape=(count, *parameter.shape))


def step_views(shape: RecurrentShape, cell: RecurrentCell, arrays: Mapping[str, Array], step: int) -> dict[str, Array]:
    """A cell's arrays at a step, of those that are there."""
    found = {}
    for parameter in cell.parameters():
        name, at = shape.place(parameter.name, step)
        if name in arrays:
            found[parameter.name] = arrays[name] if at is None else arrays[name][at]
    return found


def step_planes(shape: RecurrentShape, cell: RecurrentCell, arguments: Arguments, step: int) -> Arguments:
    """A cell's arguments at a step."""
    found = {}
    for parameter in cell.parameters():
        name, at = shape.place(parameter.name, step)
        found[parameter.name] = arguments[name] if at is None else plane(arguments[name], at)
    return found


def cut(array: MemoryArray, *, first: int, count: int) -> MemoryArray:
    """``array[first : first + count]``."""
    data = None if array.data is None else array.data[first : first + count]
    address = array.address + first * array.strides[0]
    return replace(array, shape=(count, *array.shape[1:]), address=address, data=data)
