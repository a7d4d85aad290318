"""Sums, means and maxima along the middle axis of (outer, length, inner), a part of the axis at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from nnlib.kernels.blocks import Blocks, Shape, plan_blocks
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.reducing.axis_share import AxisShare, plan_share, reduce_shared
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import MISSING, ItemBox
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

AxisFunction: TypeAlias = Literal["sum", "mean", "max"]


@dataclass(frozen=True)
class AxisReduce:
    """``y[o, i]`` = sum, mean or maximum over j of ``x[o, j, i]``."""

    function: AxisFunction
    outer: int
    length: int
    inner: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return f"axis_{self.function}"

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("x", (self.outer, self.length, self.inner), "in"),
            Parameter("y", (self.outer, self.inner), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        x = arrays["x"]
        match self.function:
            case "sum":
                arrays["y"][...] = x.sum(axis=1)
            case "mean":
                arrays["y"][...] = x.mean(axis=1)
            case "max":
                arrays["y"][...] = x.max(axis=1)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        shape, item = (self.outer, self.length, self.inner), DTYPES[self.dtype].itemsize
        plan = _plan(self.name, shape, 1, 1, item, 1, core_group.processor)
        shared = plan_share(shape, item, core_group.processor)
        if shared is not None and shared.seconds < plan.blocks.seconds:
            self.reduce_shared(core_group, arguments, shared)
        else:
            self.reduce(core_group, arguments, plan)

    def reduce_shared(self, core_group: CoreGroup, arguments: Arguments, plan: AxisShare) -> None:
        """Several CPEs share out the axis."""
        largest = self.function == "max"
        reduce_shared(
            core_group,
            self.name,
            plan,
            x=arguments["x"],
            y=arguments["y"],
            combine=lambda x, axis: x.max(axis=axis) if largest else x.sum(axis=axis),
            neutral=-np.inf if largest else 0.0,
            factor=DTYPES[self.dtype].type(1 / self.length if self.function == "mean" else 1),
            flops=self.outer * self.length * self.inner,
        )

    def reduce(self, core_group: CoreGroup, arguments: Arguments, plan: _AxisPlan) -> None:
        """Each CPE goes through the whole axis of its blocks."""
        dtype, (rows, columns) = DTYPES[self.dtype], plan.blocks.block
        sofar = core_group.alloc("sofar", size=(rows, columns), dtype=dtype)
        body = Body(loads=1, arithmetic=1)
        factor = dtype.type(1 / self.length if self.function == "mean" else 1)

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            part, first = plan.part(iteration, self.length), plan.first(iteration)
            x, total = ins[0][:, :, :part], sofar.values()
            if self.function == "max":
                found = x.max(axis=2)
                total[...] = found if first else np.maximum(total, found)
            else:
                found = x.sum(axis=2)
                total[...] = found if first else total + found
            np.multiply(total, factor, out=outs[0])

        cpe = core_group.cpe
        cycles = stream_cycles(cpe=cpe, body=body, elements=rows * plan.depth * columns)
        cycles += stream_cycles(cpe=cpe, body=Body(loads=2, stores=2, arithmetic=2), elements=rows * columns)
        stream(
            core_group,
            self.name,
            iterations=plan.iterations,
            whole=plan.whole,
            period=plan.period,
            inputs=[Operand(arguments["x"], (rows, plan.depth, columns), plan.places, None)],
            outputs=[Operand(arguments["y"], (rows, columns), plan.results, None)],
            cycles=plan.cycles(cycles),
            run_at=run_at,
            flops=self.outer * self.length * self.inner,
            accumulators=[sofar],
        )
        core_group.free(sofar)


@dataclass(frozen=True)
class AxisMaxGradient:
    """``grad_x``: each ``grad_y[o, i]`` goes to the first j with ``x[o, j, i] = y[o, i]``, the maximum."""

    outer: int
    length: int
    inner: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "axis_max_gradient"

    def parameters(self) -> tuple[Parameter, ...]:
        whole, reduced = (self.outer, self.length, self.inner), (self.outer, self.inner)
        return (
            Parameter("x", whole, "in"),
            Parameter("y", reduced, "in"),
            Parameter("grad_y", reduced, "in"),
            Parameter("grad_x", whole, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        equal = arrays["x"] == arrays["y"][:, None]
        first = equal & (np.cumsum(equal, axis=1) == 1)
        arrays["grad_x"][...] = first * arrays["grad_y"][:, None]

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: what is left of each gradient is kept from one part of the axis to the next."""
        plan = _plan(
            self.name, (self.outer, self.length, self.inner), 2, 2, DTYPES[self.dtype].itemsize, 1, core_group.processor
        )
        dtype, (rows, columns) = DTYPES[self.dtype], plan.blocks.block
        left = core_group.alloc("left", size=(rows, columns), dtype=dtype)

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, y, grad = ins
            part, rest = plan.part(iteration, self.length), left.values()
            if plan.first(iteration):
                rest[...] = grad
            equal = x[:, :, :part] == y[:, :, None]
            first = equal & (np.cumsum(equal, axis=2) == 1)
            outs[0][...] = 0
            np.multiply(first, rest[:, :, None], out=outs[0][:, :, :part])
            rest[equal.any(axis=2)] = 0

        cpe = core_group.cpe
        body = Body(loads=1, stores=1, arithmetic=3)
        cycles = stream_cycles(cpe=cpe, body=body, elements=rows * plan.depth * columns)
        cycles += stream_cycles(cpe=cpe, body=Body(loads=3, stores=1), elements=rows * columns)
        reduced = Operand(arguments["y"], (rows, columns), plan.reduced, None)
        whole = (rows, plan.depth, columns)
        stream(
            core_group,
            self.name,
            iterations=plan.iterations,
            whole=plan.whole,
            period=plan.period,
            inputs=[
                Operand(arguments["x"], whole, plan.places, None),
                reduced,
                Operand(arguments["grad_y"], (rows, columns), plan.reduced, None),
            ],
            outputs=[Operand(arguments["grad_x"], whole, plan.places, None)],
            cycles=plan.cycles(cycles),
            run_at=run_at,
            accumulators=[left],
        )
        core_group.free(left)


@dataclass(frozen=True, eq=False)
class _AxisPlan:
    """Blocks of (outer, inner), each gone through in ``parts`` parts of ``depth`` numbers of the axis."""

    blocks: Blocks
    depth: int
    parts: int

    @property
    def iterations(self) -> int:
        return self.blocks.iterations * self.parts

    @property
    def whole(self) -> range:
        return range(self.blocks.whole.stop * self.parts)

    @property
    def period(self) -> int:
        return self.blocks.period * self.parts

    def first(self, iteration: int) -> bool:
        """True for a block's first part."""
        return iteration % self.parts == 0

    def part(self, iteration: int, length: int) -> int:
        """Numbers of the axis that the iteration really has."""
        return min(self.depth, length - iteration % self.parts * self.depth)

    def reduced(self, iteration: int) -> Integers:
        """Where each CPE's block lies in (outer, inner)."""
        return self.blocks.origins(iteration // self.parts)

    def places(self, iteration: int) -> Integers:
        """Where its part lies in (outer, length, inner)."""
        return np.insert(self.reduced(iteration), 1, iteration % self.parts * self.depth, axis=1)

    def results(self, iteration: int) -> Integers:
        """Where it puts its results: nowhere before the last part."""
        found = self.reduced(iteration)
        return found if iteration % self.parts == self.parts - 1 else np.full_like(found, MISSING)

    def cycles(self, per_block: float) -> _Cycles:
        return _Cycles(self, per_block)


@dataclass(frozen=True, eq=False)
class _Cycles:
    """``per_block`` cycles for each CPE that has a block in an iteration."""

    plan: _AxisPlan
    per_block: float

    def __call__(self, iteration: int) -> list[float]:
        busy = self.plan.blocks.busy(iteration // self.plan.parts)
        return [self.per_block if each else 0.0 for each in busy]


@lru_cache(maxsize=256)
def _plan(
    kernel: str,
    shape: Shape,
    whole_arrays: int,
    reduced_arrays: int,
    item_bytes: int,
    kept: int,
    processor: ProcessorSpec,
) -> _AxisPlan:
    """As much of the axis at a time as saves time: the whole, or halves of it and so on.

    ``whole_arrays`` of ``shape`` and ``reduced_arrays`` without the axis are moved, ``kept`` of the latter stay.
    Raises InfeasiblePlan if not even one number fits.
    """
    outer, length, inner = shape
    best: tuple[float, _AxisPlan] | None = None
    depth = length
    while True:

        def boxes(block: Shape, depth: int = depth) -> list[ItemBox]:
            whole = ItemBox((block[0], depth, block[1]), shape)
            return [whole] * whole_arrays + [ItemBox(block, (outer, inner))] * reduced_arrays

        parts = -(-length // depth)
        try:
            blocks = plan_blocks(
                kernel=kernel,
                shape=(outer, inner),
                item_bytes=item_bytes,
                boxes=boxes,
                processor=processor,
                resident=lambda block: kept * aligned(prod(block) * item_bytes),
                rounds=lambda block, parts=parts: parts,  # type: ignore[misc]
            )
        except InfeasiblePlan:
            if depth == 1:
                raise
        else:
            plan = _AxisPlan(blocks, depth, parts)
            if best is None or blocks.seconds < best[0]:
                best = blocks.seconds, plan
        if depth == 1:
            assert best is not None
            return best[1]
        depth = -(-depth // 2)
