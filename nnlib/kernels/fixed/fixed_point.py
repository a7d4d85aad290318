"""Between floating-point numbers and integers: kernels that stream through the LDM once.

Matrices (rows, columns) with a step for each column; a tensor with one step is a matrix of one column. What saturates
is counted by every CPE and added up over the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.streaming import column_blocks, plan_rows, stream
from nnlib.precision.fixed import Floats, Rounding, saturated
from nnlib.precision.formats import DTYPES, STORAGE, DTypeName, IntegerName, StorageName
from nnlib.precision.random import INSTRUCTIONS, KEY_NUMBERS, key_from, uniform
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split, Tile

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

FP64: Final = DTYPES["fp64"]
INT32: Final = STORAGE["int32"]
RANDOM: Final = -(-INSTRUCTIONS // 4) + 2
"""Instructions for four random numbers, of the 16 words of two vectors, and to add them."""
TO_INTEGER: Final = 6
"""Scale and convert, two to saturate, a comparison and an addition to count; narrowing comes with the store."""

Convert = Callable[[Array, Array, Floats | None], tuple[Array, int]]
"""Numbers and steps of columns, and random numbers if any, to numbers and how many saturated."""


@dataclass(frozen=True)
class Quantise:
    """``q = round(x / step)`` as integers of ``dtype``; ``saturated`` counts those that did not fit."""

    rows: int
    columns: int
    dtype: IntegerName
    source: DTypeName = "fp64"
    rounding: Rounding = "nearest"

    @property
    def name(self) -> str:
        return "quantise"

    def parameters(self) -> tuple[Parameter, ...]:
        """x, the steps, the key of stochastic rounding, q and the count."""
        shape = (self.rows, self.columns)
        return (
            Parameter("x", shape, "in", dtype=self.source),
            Parameter("step", (self.columns,), "in", dtype="fp64"),
            *_key(self.rounding),
            Parameter("q", shape, "out"),
            Parameter("saturated", (1,), "out", dtype="int32"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        q, outside = self.convert(arrays["x"], arrays["step"], _places(self, arrays, arrays["x"].shape))
        arrays["q"][...], arrays["saturated"][...] = q, outside

    def convert(self, x: Array, step: Array, random: Floats | None) -> tuple[Array, int]:
        """The integers, as float64, and how many saturated."""
        scaled = x.astype(np.float64) * (1 / step)
        return saturated(np.rint(scaled) if random is None else np.floor(scaled + random), self.dtype)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        body = Body(loads=1, stores=1, arithmetic=_arithmetic(core_group, TO_INTEGER, self.dtype, self.rounding))
        _Columns(self, core_group, arguments, ("x", "step", "q"), body, self.convert, self.rounding).run()


@dataclass(frozen=True)
class Dequantise:
    """``x = q · step`` of integers of ``dtype``, multiplied in fp64 and stored in ``target``."""

    rows: int
    columns: int
    dtype: IntegerName
    target: DTypeName = "fp64"

    @property
    def name(self) -> str:
        return "dequantise"

    def parameters(self) -> tuple[Parameter, ...]:
        """q, the steps and x."""
        shape = (self.rows, self.columns)
        return (
            Parameter("q", shape, "in"),
            Parameter("step", (self.columns,), "in", dtype="fp64"),
            Parameter("x", shape, "out", dtype=self.target),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["x"][...] = self.convert(arrays["q"], arrays["step"], None)[0]

    def convert(self, q: Array, step: Array, _: Floats | None) -> tuple[Array, int]:
        """The numbers; none saturates."""
        return q.astype(np.float64) * step, 0

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        widen = core_group.cpe.fixed_point.widen_instructions(8 * STORAGE[self.dtype].itemsize)
        body = Body(loads=1, stores=1, arithmetic=2 + widen)
        _Columns(self, core_group, arguments, ("q", "step", "x"), body, self.convert, "nearest").run()


@dataclass(frozen=True)
class Requantise:
    """``q = round(sums · multiplier)`` of 32-bit sums as integers of ``dtype``; ``relu``: negative ones become 0."""

    rows: int
    columns: int
    dtype: IntegerName
    relu: bool = False
    rounding: Rounding = "nearest"

    @property
    def name(self) -> str:
        return "requantise"

    def parameters(self) -> tuple[Parameter, ...]:
        """The sums, the multipliers, the key of stochastic rounding, q and the count."""
        shape = (self.rows, self.columns)
        return (
            Parameter("sums", shape, "in", dtype="int32"),
            Parameter("multiplier", (self.columns,), "in", dtype="fp64"),
            *_key(self.rounding),
            Parameter("q", shape, "out"),
            Parameter("saturated", (1,), "out", dtype="int32"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        sums = arrays["sums"]
        q, outside = self.convert(sums, arrays["multiplier"], _places(self, arrays, sums.shape))
        arrays["q"][...], arrays["saturated"][...] = q, outside

    def convert(self, sums: Array, multiplier: Array, random: Floats | None) -> tuple[Array, int]:
        """The integers, as float64, and how many saturated."""
        scaled = sums.astype(np.float64) * multiplier
        if self.relu:
            scaled = np.maximum(scaled, 0)
        return saturated(np.rint(scaled) if random is None else np.floor(scaled + random), self.dtype)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        body = Body(loads=1, stores=1, arithmetic=requantise_instructions(core_group, self.dtype, relu=self.relu))
        if self.rounding == "stochastic":
            body = Body(loads=1, stores=1, arithmetic=body.arithmetic + RANDOM)
        _Columns(self, core_group, arguments, ("sums", "multiplier", "q"), body, self.convert, self.rounding).run()


def requantise_instructions(core_group: CoreGroup, storage: IntegerName, *, relu: bool) -> int:
    """Arithmetic instructions for four sums: converted to fp64, scaled, cut off below 0, and made integers again."""
    return _arithmetic(core_group, TO_INTEGER + 1 + relu, storage, "nearest")


def _arithmetic(core_group: CoreGroup, instructions: int, storage: StorageName, rounding: Rounding) -> int:
    narrow = core_group.cpe.fixed_point.narrow_instructions(8 * STORAGE[storage].itemsize)
    return instructions + narrow + (RANDOM if rounding == "stochastic" else 0)


def _key(rounding: Rounding) -> tuple[Parameter, ...]:
    if rounding == "nearest":
        return ()
    return (Parameter("key", (KEY_NUMBERS,), "in", dtype="fp64"),)


def _places(kernel: Quantise | Requantise, arrays: Mapping[str, Array], shape: tuple[int, ...]) -> Floats | None:
    """The random number of each element, if rounding needs them."""
    if kernel.rounding == "nearest":
        return None
    return uniform_places(key_from(arrays["key"]), first=0, shape=shape)


def uniform_places(key: int, *, first: int, shape: tuple[int, ...]) -> Floats:
    """Random numbers of the places from ``first`` on, in a shape."""
    return uniform(key, first=first, count=int(np.prod(shape))).reshape(shape)


class _Columns:
    """One run: blocks of columns, in each all rows; ``names`` of what is read, of the columns' numbers, of what is
    written."""

    def __init__(
        self,
        kernel: Quantise | Dequantise | Requantise,
        core_group: CoreGroup,
        arguments: Arguments,
        names: tuple[str, str, str],
        body: Body,
        convert: Convert,
        rounding: Rounding,
    ) -> None:
        self.kernel, self.core_group, self.arguments = kernel, core_group, arguments
        self.source, self.steps, self.target = (arguments[name] for name in names)
        self.body, self.convert, self.rounding = body, convert, rounding
        self.counted = "saturated" in arguments

    def run(self) -> None:
        group = self.core_group
        key = None
        if self.rounding == "stochastic":
            key = group.alloc("key", size=(KEY_NUMBERS,), dtype=FP64, split=Split())
            group.wait(group.get(key, self.arguments["key"], (0,)))
        counts = begin_counts(group, 1) if self.counted else None
        items = self.source.dtype.itemsize, self.target.dtype.itemsize
        held = group.ldm.used
        for columns in column_blocks(
            self.kernel.columns,
            needed=lambda width: held + aligned(8 * width) + 2 * sum(aligned(width * item) for item in items),
            kernel=self.kernel.name,
            processor=group.processor,
        ):
            self.block(columns, key, counts)
        if counts is not None:
            end_counts(group, counts, self.arguments["saturated"])
        if key is not None:
            group.free(key)

    def block(self, columns: range, key: Tile | None, counts: Tile | None) -> None:
        """A block of columns."""
        group, width = self.core_group, len(columns)
        steps = group.alloc("steps", size=(width,), dtype=FP64, split=Split())
        group.wait(group.get(steps, self.steps, (columns.start,)))
        rows = plan_rows(
            kernel=self.kernel.name,
            rows=self.kernel.rows,
            row_bytes=[width * self.source.dtype.itemsize, width * self.target.dtype.itemsize],
            resident=group.ldm.used,
            processor=group.processor,
        )
        iteration = count()

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            first = next(iteration) * rows.per_cpe * rows.cpes
            valid = min(len(ins[0]), self.kernel.rows - first)
            random = None
            if key is not None:
                shape = (len(ins[0]), self.kernel.columns)
                place = first * self.kernel.columns
                random = uniform_places(key_from(key.values()), first=place, shape=shape)
                random = random[:valid, columns.start : columns.stop]
            outs[0][valid:] = 0
            numbers, outside = self.convert(ins[0][:valid], steps.values(), random)
            outs[0][:valid] = numbers
            if counts is not None:
                counts.values()[0] += outside

        resident = [steps] if key is None else [steps, key]
        stream(
            group,
            self.kernel.name,
            iterations=rows.iterations,
            whole=rows.whole,
            inputs=[rows.operand(self.source, columns=columns)],
            outputs=[rows.operand(self.target, columns=columns)],
            cycles=rows.cycles(self.body, group.cpe, row_elements=width),
            run=run,
            resident=resident,
            accumulators=[] if counts is None else [counts],
        )
        group.free(steps)


def begin_counts(core_group: CoreGroup, width: int) -> Tile:
    """``width`` counts of each CPE, all 0."""
    counts = core_group.alloc("counts", size=(1, width), dtype=INT32, split=Split(rows=0, columns=0))

    def clear() -> None:
        counts.values()[...] = 0

    cycles = stream_cycles(cpe=core_group.cpe, body=Body(stores=1), elements=width)
    core_group.compute("clear counts", cycles=cycles, writes=[counts], run=clear)
    return counts


def end_counts(core_group: CoreGroup, counts: Tile, total: MemoryArray) -> None:
    """Add the CPEs' counts over the mesh and put them."""
    width = counts.size[1]
    ColumnSum(rows=1, columns=width, dtype="fp64").add_over_mesh(core_group, counts, total, range(width))
    core_group.free(counts)
