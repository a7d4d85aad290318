"""Linear maps along the rows and the columns of images: means of windows and bins, resizing, mirrored borders.

The gradient is the same program with the transposed maps. An item is a block of outputs; it gets all inputs of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.reducing.axis_rules import AxisRule
from nnlib.kernels.window import Boxes, ItemBox, ItemPlan, Items, plan_items
from nnlib.ops.axis_map import AxisMap
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Resample:
    """``y`` (batch, outputs of ``rows``, outputs of ``columns``, channels) = the maps applied to the images ``x``.

    ``gradient``: the transposed, from such outputs back to images.
    """

    batch: int
    rows: AxisRule
    columns: AxisRule
    channels: int
    dtype: DTypeName
    gradient: bool = False
    label: str = "resample"

    @property
    def name(self) -> str:
        return f"{self.label}_gradient" if self.gradient else self.label

    @property
    def maps(self) -> tuple[AxisMap, AxisMap]:
        """Along rows and columns, from what the kernel reads to what it writes."""
        rows, columns = self.rows.map(), self.columns.map()
        return (rows.transposed, columns.transposed) if self.gradient else (rows, columns)

    def parameters(self) -> tuple[Parameter, ...]:
        rows, columns = self.maps
        return (
            Parameter("x", (self.batch, rows.length, columns.length, self.channels), "in"),
            Parameter("y", (self.batch, rows.count, columns.count, self.channels), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        rows, columns = self.maps
        arrays["y"][...] = columns.apply(rows.apply(arrays["x"], 1), 2)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if the inputs of one output do not fit the LDM."""
        plan = _plan(self, core_group.processor)
        items, dtype = plan.items, DTYPES[self.dtype]
        taps = plan.rows.taps * plan.columns.taps
        body = Body(loads=taps, stores=1, arithmetic=taps)
        outputs = items.plan.rows * items.plan.columns * items.plan.channels

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            _, row, column, _ = items.origins(iteration)
            found = plan.rows.apply(ins[0][:, 0], row, dtype)
            outs[0][:, 0] = plan.columns.apply(found.swapaxes(1, 2), column, dtype).swapaxes(1, 2)

        rows, columns = self.maps
        items.stream(
            core_group,
            self.name,
            inputs=[plan.seen.operand(arguments["x"])],
            outputs=[plan.own.operand(arguments["y"])],
            cycles=stream_cycles(cpe=core_group.cpe, body=body, elements=outputs),
            run_at=run_at,
            flops=2 * self.batch * rows.count * columns.count * self.channels * taps if taps > 1 else 0,
        )


@dataclass(frozen=True, eq=False)
class _AxisParts:
    """A map in parts of ``block`` outputs: first input of each, inputs of the widest, places from there, weights."""

    block: int
    first: Integers
    span: int
    places: Integers
    weights: NDArray[np.float64]

    @property
    def taps(self) -> int:
        return int(self.places.shape[2])

    def numbers(self, origins: Integers) -> Integers:
        """The parts of the CPEs' items; any for a CPE without one."""
        return np.minimum(origins // self.block, len(self.first) - 1)

    def apply(self, x: Array, origins: Integers, dtype: np.dtype[np.floating]) -> Array:
        """(CPEs, inputs, ...) to (CPEs, outputs, ...)."""
        numbers = self.numbers(origins)
        cpe = np.arange(len(x))[:, None]
        behind = (1,) * (x.ndim - 2)
        total: Array | None = None
        for tap in range(self.taps):
            weights = self.weights[numbers, :, tap].astype(dtype)
            part = x[cpe, self.places[numbers, :, tap]] * weights.reshape(*weights.shape, *behind)
            total = part if total is None else total + part
        assert total is not None
        return total


def _parts(of: AxisMap, block: int) -> _AxisParts:
    number = -(-of.count // block)
    places = np.zeros((number * block, of.taps), dtype=np.int64)
    weights = np.zeros((number * block, of.taps))
    places[: of.count], weights[: of.count] = of.places, of.weights
    places, weights = places.reshape(number, -1), weights.reshape(number, -1)
    used = weights != 0
    first = np.where(used, places, of.length).min(axis=1)
    # a part without any input still has to get something
    first = np.minimum(first, of.length - 1)
    last = np.where(used, places, first[:, None]).max(axis=1)
    relative = np.where(used, places - first[:, None], 0)
    shape = (number, block, of.taps)
    return _AxisParts(block, first, int((last - first).max()) + 1, relative.reshape(shape), weights.reshape(shape))


@dataclass(frozen=True, eq=False)
class _Plan:
    items: Items
    rows: _AxisParts
    columns: _AxisParts
    seen: Boxes
    own: Boxes


@lru_cache(maxsize=64)
def _plan(kernel: Resample, processor: ProcessorSpec) -> _Plan:
    """Blocks of outputs and their inputs. Raises InfeasiblePlan if the smallest do not fit the LDM."""
    by_rows, by_columns = kernel.maps
    seen_shape, own_shape = (parameter.shape for parameter in kernel.parameters())
    known: dict[tuple[int, int], _AxisParts] = {}

    def parts(plan: ItemPlan) -> tuple[_AxisParts, _AxisParts]:
        for axis, of, block in ((0, by_rows, plan.rows), (1, by_columns, plan.columns)):
            if (axis, block) not in known:
                known[axis, block] = _parts(of, block)
        return known[0, plan.rows], known[1, plan.columns]

    def boxes(plan: ItemPlan) -> tuple[ItemBox, ItemBox]:
        rows, columns = parts(plan)
        return (
            ItemBox((1, rows.span, columns.span, plan.channels), seen_shape),
            ItemBox((1, plan.rows, plan.columns, plan.channels), own_shape),
        )

    items = plan_items(
        kernel=kernel.name,
        batch=kernel.batch,
        rows=by_rows.count,
        columns=by_columns.count,
        channels=kernel.channels,
        multiple=1,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=boxes,
        processor=processor,
    )
    rows, columns = parts(items.plan)
    seen, own = boxes(items.plan)

    def place(origins: Integers) -> list[Integers]:
        sample, row, column, channel = origins
        return [sample, rows.first[rows.numbers(row)], columns.first[columns.numbers(column)], channel]

    return _Plan(items, rows, columns, items.boxes(seen.size, place), items.boxes(own.size, tuple))
