"""Sums, differences, products and quotients of arrays under the rules of broadcasting, and one array repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.blocks import Blocks, Shape, plan_blocks
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import ItemBox
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

BroadcastFunction: TypeAlias = Literal["add", "subtract", "multiply", "divide"]

_FUNCTIONS: Final[Mapping[BroadcastFunction, Callable[..., Array]]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
}


@dataclass(frozen=True)
class Broadcast:
    """``z = x ∘ y`` for arrays whose axes are as long as the result's or 1; both have all axes."""

    function: BroadcastFunction
    x: Shape
    y: Shape
    dtype: DTypeName

    @property
    def name(self) -> str:
        return f"broadcast_{self.function}"

    @property
    def result(self) -> Shape:
        return tuple(np.broadcast_shapes(self.x, self.y))

    def parameters(self) -> tuple[Parameter, ...]:
        return Parameter("x", self.x, "in"), Parameter("y", self.y, "in"), Parameter("z", self.result, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["z"][...] = _FUNCTIONS[self.function](arrays["x"], arrays["y"])

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        divide = self.function == "divide"
        body = Body(loads=2, stores=1, arithmetic=0 if divide else 1, divides=1 if divide else 0)
        function = _FUNCTIONS[self.function]

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            with np.errstate(divide="ignore", invalid="ignore"):  # zeros beyond the ends of the arrays
                function(ins[0], ins[1], out=outs[0])

        _stream(core_group, self.name, ("x", "y", "z"), (self.x, self.y), arguments, body, run, flops=prod(self.result))


@dataclass(frozen=True)
class Repeat:
    """``y`` of ``shape`` = ``factor`` · ``x`` repeated along its axes of length 1: the gradient of a sum or a mean."""

    x: Shape
    shape: Shape
    dtype: DTypeName
    factor: float = 1.0

    @property
    def name(self) -> str:
        return "repeat"

    def parameters(self) -> tuple[Parameter, ...]:
        return Parameter("x", self.x, "in"), Parameter("y", self.shape, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        arrays["y"][...] = arrays["x"] * DTYPES[self.dtype].type(self.factor)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        factor = DTYPES[self.dtype].type(self.factor)
        _stream(
            core_group,
            self.name,
            ("x", "y"),
            (self.x,),
            arguments,
            Body(loads=1, stores=1, arithmetic=1),
            lambda ins, outs: np.multiply(ins[0], factor, out=outs[0]),
            flops=prod(self.shape) if self.factor != 1 else 0,
        )


def _stream(
    core_group: CoreGroup,
    label: str,
    names: tuple[str, ...],
    operands: tuple[Shape, ...],
    arguments: Arguments,
    body: Body,
    run: Callable[[Sequence[Array], Sequence[Array]], object],
    *,
    flops: int,
) -> None:
    """Blocks of the result, the last of ``names``, with the part of each operand that belongs to it."""
    result = arguments[names[-1]]
    shape, merged = merge(result.shape, operands)
    blocks = _plan(label, shape, merged, result.dtype.itemsize, core_group.processor)

    def operand(name: str, own: Shape) -> Operand:
        repeated = np.array([size == 1 and length != 1 for size, length in zip(own, shape, strict=True)])

        def start(iteration: int) -> Integers:
            places = blocks.origins(iteration)
            # a CPE without a block has none of any operand
            idle = places[:, :1] >= shape[0]
            return np.where(repeated & ~idle, 0, places)

        return Operand(arguments[name].reshape(*own), _part(blocks.block, own), start, None)

    stream(
        core_group,
        label,
        iterations=blocks.iterations,
        whole=blocks.whole,
        period=blocks.period,
        inputs=[operand(name, own) for name, own in zip(names[:-1], merged, strict=True)],
        outputs=[Operand(result.reshape(*shape), blocks.block, blocks.origins, None)],
        cycles=blocks.cycles(stream_cycles(cpe=core_group.cpe, body=body, elements=prod(blocks.block))),
        run=run,
        flops=flops,
    )


def merge(shape: Shape, operands: Sequence[Shape]) -> tuple[Shape, tuple[Shape, ...]]:
    """Neighbouring axes that all operands have whole, or all alike repeat, become one."""
    merged: list[int] = []
    kinds: list[tuple[bool, ...]] = []
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        kind = tuple(own[axis] == 1 for own in operands)
        if kinds and kinds[-1] == kind:
            merged[-1] *= length
        else:
            merged.append(length)
            kinds.append(kind)
    if not merged:
        return (1,), ((1,),) * len(operands)
    return tuple(merged), tuple(
        tuple(1 if kind[number] else length for length, kind in zip(merged, kinds, strict=True))
        for number in range(len(operands))
    )


def _part(block: Shape, own: Shape) -> Shape:
    """Of an operand what a block of the result needs."""
    return tuple(min(size, length) for size, length in zip(block, own, strict=True))


@lru_cache(maxsize=256)
def _plan(label: str, shape: Shape, operands: tuple[Shape, ...], item_bytes: int, processor: ProcessorSpec) -> Blocks:
    def boxes(block: Shape) -> list[ItemBox]:
        return [ItemBox(_part(block, own), own) for own in operands] + [ItemBox(block, shape)]

    return plan_blocks(kernel=label, shape=shape, item_bytes=item_bytes, boxes=boxes, processor=processor)
