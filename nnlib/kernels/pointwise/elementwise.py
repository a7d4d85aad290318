"""Element-wise kernels: each streams vectors of numbers through the LDM once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter, check_fits
from nnlib.kernels.pointwise.functions.table import FUNCTIONS, Function
from nnlib.kernels.streaming import column_blocks, plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body
from sim.chip.tile import Split

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

__all__ = ["BiasAdd", "Elementwise", "Function", "SumCopies"]


@dataclass(frozen=True)
class Elementwise:
    """``function`` over ``elements`` numbers; its hyper-parameters come in the argument ``hyper``.

    ``constants``: numbers of the program itself, such as a slope, in the function's order; none: the usual ones.
    """

    function: Function
    elements: int
    dtype: DTypeName
    constants: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return self.function

    @property
    def hyper(self) -> tuple[str, ...]:
        """Names of the hyper-parameters, in the order of the argument ``hyper``."""
        return FUNCTIONS[self.function].hyper

    def run(self, ins: Sequence[Array], outs: Sequence[Array], hyper: Array | None) -> None:
        """The numbers: from inputs into outputs."""
        definition = FUNCTIONS[self.function]
        numbers = (self.constants or tuple(definition.constants.values())) if hyper is None else hyper
        # CPEs that have nothing to do have zeros, of which there may be no logarithm
        with np.errstate(divide="ignore", invalid="ignore"):
            definition.run(ins, outs, numbers)

    def parameters(self) -> tuple[Parameter, ...]:
        """Inputs, then outputs, then ``hyper`` if the function has any."""
        definition = FUNCTIONS[self.function]
        shape = (self.elements,)
        found = [Parameter(name, shape, "inout" if name in definition.outputs else "in") for name in definition.inputs]
        found += [Parameter(name, shape, "out") for name in definition.outputs if name not in definition.inputs]
        if definition.hyper:
            found.append(Parameter("hyper", (len(definition.hyper),), "in"))
        return tuple(found)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        definition = FUNCTIONS[self.function]
        targets = [np.empty_like(arrays[name]) for name in definition.outputs]
        hyper = arrays["hyper"] if definition.hyper else None
        self.run([arrays[name] for name in definition.inputs], targets, hyper)
        for name, target in zip(definition.outputs, targets, strict=True):
            arrays[name][...] = target

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        definition = FUNCTIONS[self.function]
        dtype = DTYPES[self.dtype]
        resident = []
        if definition.hyper:
            streams = len(definition.inputs) + len(definition.outputs)
            needed = aligned(len(definition.hyper) * dtype.itemsize) + 2 * streams * aligned(dtype.itemsize)
            check_fits(kernel=self.name, needed=needed, processor=core_group.processor)
            tile = core_group.alloc("hyper", size=(len(definition.hyper),), dtype=dtype, split=Split())
            core_group.wait(core_group.get(tile, arguments["hyper"], (0,)))
            resident.append(tile)
        rows = plan_rows(
            kernel=self.name,
            rows=self.elements,
            row_bytes=[dtype.itemsize] * (len(definition.inputs) + len(definition.outputs)),
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            self.run(ins, outs, resident[0].values() if resident else None)

        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name]) for name in definition.inputs],
            outputs=[rows.operand(arguments[name]) for name in definition.outputs],
            cycles=rows.cycles(definition.body_of(self.dtype), core_group.cpe),
            run=run,
            flops=definition.flops * self.elements,
            resident=resident,
        )
        core_group.free(*resident)


@dataclass(frozen=True)
class SumCopies:
    """``total = sum of copies`` over the first axis of ``copies`` (count, elements): gradients of core groups."""

    count: int
    elements: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "sum_copies"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("copies", (self.count, self.elements), "in"),
            Parameter("total", (self.elements,), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["total"][...] = arrays["copies"].sum(axis=0)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        rows = plan_rows(
            kernel=self.name,
            rows=self.elements,
            row_bytes=[item * self.count, item],
            resident=0,
            processor=core_group.processor,
        )
        copies = rows.copies(arguments["copies"])
        body = Body(loads=self.count, stores=1, arithmetic=self.count - 1)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[copies],
            outputs=[rows.operand(arguments["total"])],
            cycles=rows.cycles(body, core_group.cpe),
            run=lambda ins, outs: np.sum(ins[0], axis=0, out=outs[0]),
            flops=(self.count - 1) * self.elements,
        )


@dataclass(frozen=True)
class BiasAdd:
    """``y += bias`` along the last axis of ``y`` (rows, channels)."""

    rows: int
    channels: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "bias_add"

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("y", (self.rows, self.channels), "inout"), Parameter("bias", (self.channels,), "in"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["y"][...] += arrays["bias"]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        item = DTYPES[self.dtype].itemsize
        for columns in column_blocks(
            self.channels,
            needed=lambda width: 5 * aligned(width * item),  # the bias, and two rows each of what comes and goes
            kernel=self.name,
            processor=core_group.processor,
        ):
            self.add(core_group, arguments, columns)

    def add(self, core_group: CoreGroup, arguments: Arguments, columns: range) -> None:
        """A block of columns."""
        dtype = DTYPES[self.dtype]
        width = len(columns)
        bias = core_group.alloc("bias", size=(width,), dtype=dtype, split=Split())
        core_group.wait(core_group.get(bias, arguments["bias"], (columns.start,)))
        rows = plan_rows(
            kernel=self.name,
            rows=self.rows,
            row_bytes=[width * dtype.itemsize] * 2,
            resident=core_group.ldm.used,
            processor=core_group.processor,
        )
        body = Body(loads=2, stores=1, arithmetic=1)
        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments["y"], columns=columns)],
            outputs=[rows.operand(arguments["y"], columns=columns)],
            cycles=rows.cycles(body, core_group.cpe, row_elements=width),
            run=lambda ins, outs: np.add(ins[0], bias.values(), out=outs[0]),
            flops=self.rows * width,
            resident=[bias],
        )
        core_group.free(bias)
