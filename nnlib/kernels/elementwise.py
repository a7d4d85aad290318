"""Element-wise kernels: each streams vectors of numbers through the LDM once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter, check_fits
from nnlib.kernels.streaming import column_blocks, plan_rows, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline import Body
from sim.chip.tile import Split

Function: TypeAlias = Literal["add", "relu", "relu_gradient", "sgd", "nesterov", "adam", "lars"]
Numerics: TypeAlias = Callable[[Sequence[Array], Sequence[Array], Array], None]


@dataclass(frozen=True)
class _Definition:
    """Array names, instructions per vector, flops per element, hyper-parameters in order, and the numbers."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: Body
    flops: int
    hyper: tuple[str, ...]
    run: Numerics


def _add(ins: Sequence[Array], outs: Sequence[Array], _: Array) -> None:
    np.add(ins[0], ins[1], out=outs[0])


def _relu(ins: Sequence[Array], outs: Sequence[Array], _: Array) -> None:
    np.maximum(ins[0], 0, out=outs[0])


def _relu_gradient(ins: Sequence[Array], outs: Sequence[Array], _: Array) -> None:
    y, grad = ins
    np.multiply(grad, y > 0, out=outs[0])


def _sgd(ins: Sequence[Array], outs: Sequence[Array], hyper: Array) -> None:
    weight, grad, velocity = ins
    rate, momentum, decay = hyper
    outs[1][...] = momentum * velocity + (grad + decay * weight)
    outs[0][...] = weight - rate * outs[1]


def _nesterov(ins: Sequence[Array], outs: Sequence[Array], hyper: Array) -> None:
    weight, grad, velocity = ins
    rate, momentum, decay = hyper
    step = grad + decay * weight
    outs[1][...] = momentum * velocity + step
    outs[0][...] = weight - rate * (step + momentum * outs[1])


def _lars(ins: Sequence[Array], outs: Sequence[Array], hyper: Array) -> None:
    weight, grad, velocity = ins
    rate, momentum, decay, ratio = hyper
    outs[1][...] = momentum * velocity + rate * ratio * (grad + decay * weight)
    outs[0][...] = weight - outs[1]


def _adam(ins: Sequence[Array], outs: Sequence[Array], hyper: Array) -> None:
    weight, grad, mean, square = ins
    rate, beta1, beta2, epsilon, decay, correction1, correction2 = hyper
    step = grad + decay * weight
    outs[1][...] = beta1 * mean + (1 - beta1) * step
    outs[2][...] = beta2 * square + (1 - beta2) * step * step
    outs[0][...] = weight - rate / correction1 * outs[1] / (np.sqrt(outs[2] / correction2) + epsilon)


_OPTIMISER = ("weight", "gradient", "velocity")
_DEFINITIONS: Final[Mapping[Function, _Definition]] = {
    "add": _Definition(("x", "y"), ("z",), Body(loads=2, stores=1, arithmetic=1), 1, (), _add),
    "relu": _Definition(("x",), ("y",), Body(loads=1, stores=1, arithmetic=1), 0, (), _relu),
    "relu_gradient": _Definition(
        ("y", "grad_y"), ("grad_x",), Body(loads=2, stores=1, arithmetic=2), 0, (), _relu_gradient
    ),
    "sgd": _Definition(
        _OPTIMISER,
        ("weight", "velocity"),
        Body(loads=3, stores=2, arithmetic=3),
        6,
        ("rate", "momentum", "decay"),
        _sgd,
    ),
    "nesterov": _Definition(
        _OPTIMISER,
        ("weight", "velocity"),
        Body(loads=3, stores=2, arithmetic=4),
        8,
        ("rate", "momentum", "decay"),
        _nesterov,
    ),
    "lars": _Definition(
        _OPTIMISER,
        ("weight", "velocity"),
        Body(loads=3, stores=2, arithmetic=4),
        7,
        ("rate", "momentum", "decay", "ratio"),
        _lars,
    ),
    "adam": _Definition(
        ("weight", "gradient", "mean", "square"),
        ("weight", "mean", "square"),
        # the square root and the division are not pipelined (THESIS T3.2)
        Body(loads=4, stores=3, arithmetic=9, divides=2),
        14,
        ("rate", "beta1", "beta2", "epsilon", "decay", "correction1", "correction2"),
        _adam,
    ),
}


@dataclass(frozen=True)
class Elementwise:
    """``function`` over ``elements`` numbers; its hyper-parameters come in the argument ``hyper``."""

    function: Function
    elements: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return self.function

    @property
    def hyper(self) -> tuple[str, ...]:
        """Names of the hyper-parameters, in the order of the argument ``hyper``."""
        return _DEFINITIONS[self.function].hyper

    def parameters(self) -> tuple[Parameter, ...]:
        """Inputs, then outputs, then ``hyper`` if the function has any."""
        definition = _DEFINITIONS[self.function]
        shape = (self.elements,)
        found = [Parameter(name, shape, "inout" if name in definition.outputs else "in") for name in definition.inputs]
        found += [Parameter(name, shape, "out") for name in definition.outputs if name not in definition.inputs]
        if definition.hyper:
            found.append(Parameter("hyper", (len(definition.hyper),), "in"))
        return tuple(found)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        definition = _DEFINITIONS[self.function]
        targets = [np.empty_like(arrays[name]) for name in definition.outputs]
        hyper = arrays["hyper"] if definition.hyper else np.empty(0)
        definition.run([arrays[name] for name in definition.inputs], targets, hyper)
        for name, target in zip(definition.outputs, targets, strict=True):
            arrays[name][...] = target

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        definition = _DEFINITIONS[self.function]
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
            hyper = resident[0].values() if resident else np.empty(0)
            definition.run(ins, outs, hyper)

        stream(
            core_group,
            self.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(arguments[name]) for name in definition.inputs],
            outputs=[rows.operand(arguments[name]) for name in definition.outputs],
            cycles=rows.cycles(definition.body, core_group.processor.cpe),
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
            cycles=rows.cycles(body, core_group.processor.cpe),
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
            cycles=rows.cycles(body, core_group.processor.cpe, row_elements=width),
            run=lambda ins, outs: np.add(ins[0], bias.values(), out=outs[0]),
            flops=self.rows * width,
            resident=[bias],
        )
        core_group.free(bias)
