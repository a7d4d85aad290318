"""Normalisation within samples: layer, root-mean-square, group and instance normalisation are one kernel.

Arrays are (batch, pixels, channels). Layer normalisation of rows: a pixel and a group per row; instance
normalisation: a group per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.normalisation.channel_sums import keep_vectors
from nnlib.kernels.normalisation.group_items import Extent, GroupItems, plan_groups
from nnlib.kernels.streaming import stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

INNER = (2, 4)
"""Axes of (CPEs, samples, pixels, groups, channels of a group) that are normalised over."""


@dataclass(frozen=True, kw_only=True)
class GroupShape:
    """``groups`` groups of channels of each sample of (batch, pixels, channels), each normalised for itself.

    Not ``affine``: no gamma; not ``centred``: no mean is subtracted, and there is no beta.
    Raises ValueError where the channels do not divide into the groups.
    """

    batch: int
    pixels: int
    channels: int
    groups: int = 1
    affine: bool = True
    centred: bool = True

    def __post_init__(self) -> None:
        if self.groups < 1 or self.channels % self.groups:
            raise ValueError(f"{self.channels} channels do not divide into {self.groups} groups")

    @property
    def array(self) -> tuple[int, int, int]:
        return self.batch, self.pixels, self.channels

    @property
    def extent(self) -> Extent:
        return self.batch, self.pixels, self.groups, self.channels // self.groups

    @property
    def count(self) -> int:
        """Numbers of a group."""
        return self.pixels * (self.channels // self.groups)

    @property
    def statistics(self) -> tuple[str, ...]:
        return ("mean", "inverse_deviation") if self.centred else ("inverse_deviation",)

    @property
    def vectors(self) -> tuple[str, ...]:
        """The parameters, of a number per channel."""
        if not self.affine:
            return ()
        return ("gamma", "beta") if self.centred else ("gamma",)


@dataclass(frozen=True)
class GroupNormalisation:
    """``y = gamma·(x − mean)·inverse_deviation + beta``, and the mean and 1/√(variance + epsilon) of each group."""

    shape: GroupShape
    dtype: DTypeName
    epsilon: float

    @property
    def name(self) -> str:
        return "group_normalisation"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        return (
            Parameter("x", shape.array, "in"),
            *(Parameter(name, (shape.channels,), "in", common=True) for name in shape.vectors),
            Parameter("y", shape.array, "out"),
            *(Parameter(name, (shape.batch, shape.groups), "out") for name in shape.statistics),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        x = arrays["x"].reshape(1, *self.shape.extent)
        mean = x.mean(axis=INNER, keepdims=True, dtype=np.float64) if self.shape.centred else np.zeros((1,) * 5)
        variance = np.square(x - mean).mean(axis=INNER, keepdims=True)
        inverse = 1 / np.sqrt(variance + self.epsilon)
        y = ((x - mean) * inverse).reshape(self.shape.array)
        if "gamma" in arrays:
            y *= arrays["gamma"]
        if "beta" in arrays:
            y += arrays["beta"]
        arrays["y"][...] = y
        arrays["inverse_deviation"][...] = inverse.reshape(self.shape.batch, -1)
        if self.shape.centred:
            arrays["mean"][...] = mean.reshape(self.shape.batch, -1)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        items = self.plan(core_group.processor)
        if items.steps == 1:
            self.at_once(core_group, arguments, items)
            return
        blocks = core_group.loop(f"{self.name}: items", items.rounds, steady=items.whole, period=items.period)
        for number in blocks:
            self.in_steps(core_group, arguments, items, number)

    @property
    def body(self) -> Body:
        """Instructions for a vector: its share of the mean, of the variance, and its normalisation."""
        vectors = len(self.shape.vectors)
        return Body(loads=2 + self.shape.centred + vectors, stores=1, arithmetic=3 + 2 * self.shape.centred + vectors)

    def plan(self, processor: ProcessorSpec) -> GroupItems:
        """Raises InfeasiblePlan."""
        return plan_groups(
            kernel=self.name,
            extent=self.shape.extent,
            streams=2,
            vectors=len(self.shape.vectors),
            statistics=2,
            sample_vectors=0,
            item=DTYPES[self.dtype].itemsize,
            body=self.body,
            processor=processor,
        )

    def at_once(self, core_group: CoreGroup, arguments: Arguments, items: GroupItems) -> None:
        """Items that fit the LDM: their numbers come once."""
        cpe, shape = core_group.cpe, self.shape
        kept: dict[str, Tile] = {}
        inputs = [items.boxes(arguments["x"], whole_item)]
        if items.same_vectors:
            kept = keep_vectors(core_group, arguments, shape.vectors, range(shape.channels))
        else:
            inputs += [items.vectors(arguments[name], whole_item) for name in shape.vectors]

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            x, *vectors = ins
            if kept:
                vectors = [kept[name].values().reshape(1, *shape.extent[2:]) for name in shape.vectors]
            y, *statistics = outs
            if shape.centred:
                mean = x.mean(axis=INNER, keepdims=True)
                statistics[0][...] = mean[:, :, 0, :, 0]
                np.subtract(x, mean, out=y)
            else:
                y[...] = x
            inverse = 1 / np.sqrt(np.square(y).mean(axis=INNER, keepdims=True) + y.dtype.type(self.epsilon))
            statistics[-1][...] = inverse[:, :, 0, :, 0]
            y *= inverse
            _affine(y, vectors)

        elements = items.samples * items.pixels * items.groups * items.channels
        cycles = stream_cycles(cpe=cpe, body=self.body, elements=elements)
        cycles += stream_cycles(cpe=cpe, body=Body(arithmetic=3, divides=2), elements=items.samples * items.groups)
        stream(
            core_group,
            self.name,
            iterations=items.rounds,
            whole=items.whole,
            period=items.period,
            inputs=inputs,
            outputs=[
                items.boxes(arguments["y"], whole_item),
                *(items.statistics(arguments[name], whole_item) for name in shape.statistics),
            ],
            cycles=lambda number: items.busy(number, cycles),
            run=run,
            flops=self.flops,
            resident=list(kept.values()),
        )
        core_group.free(*kept.values())

    @property
    def flops(self) -> int:
        """Of the mean 1, of the variance 3 with it and 2 without, and of the normalisation, for each number."""
        shape = self.shape
        return shape.batch * shape.pixels * shape.channels * (3 + 2 * shape.centred + len(shape.vectors))

    def in_steps(self, core_group: CoreGroup, arguments: Arguments, items: GroupItems, number: int) -> None:
        """An item of each CPE that passes by twice: for its statistics, and to be normalised."""
        cpe, shape, dtype = core_group.cpe, self.shape, DTYPES[self.dtype]
        at = steps_of(number)
        names = ("mean", "inverse_deviation")
        mean, squares = (core_group.alloc(name, size=(1, items.groups), dtype=dtype) for name in names)
        elements = items.pixels * items.groups * items.channels

        def clear() -> None:
            mean.values()[...] = 0
            squares.values()[...] = 0

        def add(step: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
            height, width = items.size(step)
            x = ins[0][:, :, :height, :, :width]
            before, here = items.before(step), height * width
            if not shape.centred:
                squares.values()[...] += np.square(x).sum(axis=INNER)
                return
            own = x.mean(axis=INNER, keepdims=True)
            away = own[:, :, 0, :, 0] - mean.values()
            weight = dtype.type(here / (before + here))
            mean.values()[...] += away * weight
            squares.values()[...] += np.square(x - own).sum(axis=INNER) + away * away * weight * dtype.type(before)

        def finish() -> None:
            variance = squares.values() / dtype.type(shape.count)
            squares.values()[...] = 1 / np.sqrt(variance + dtype.type(self.epsilon))

        def normalise(step: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            height, width = items.size(step)
            x, y = (each[:, :, :height, :, :width] for each in (ins[0], outs[0]))
            np.subtract(x, over(mean.values()) if shape.centred else x.dtype.type(0), out=y)
            y *= over(squares.values())
            _affine(y, [each[..., :width] for each in ins[1:]])

        few = stream_cycles(cpe=cpe, body=Body(stores=2), elements=items.groups)
        core_group.compute("clear", cycles=items.busy(number, few), writes=[mean, squares], run=clear)
        centred = shape.centred
        each = stream_cycles(cpe=cpe, body=Body(loads=1 + centred, arithmetic=1 + 2 * centred), elements=elements)
        each += stream_cycles(cpe=cpe, body=Body(loads=2, stores=2, arithmetic=6), elements=items.groups)
        stream(
            core_group,
            f"{self.name}: statistics",
            iterations=items.steps,
            whole=items.whole_steps,
            period=items.step_blocks[1],
            inputs=[items.boxes(arguments["x"], at)],
            outputs=[],
            cycles=lambda step: items.busy(number, each),
            run_at=add,
            flops=self.flops if number == 0 else 0,
            accumulators=[mean, squares],
        )
        few = stream_cycles(cpe=cpe, body=Body(loads=1, stores=1, arithmetic=2, divides=2), elements=items.groups)
        core_group.compute(
            "inverse deviation", cycles=items.busy(number, few), reads=[squares], writes=[squares], run=finish
        )
        vectors = len(shape.vectors)
        body = Body(loads=1 + vectors, stores=1, arithmetic=1 + centred + vectors)
        scaled = stream_cycles(cpe=cpe, body=body, elements=elements)
        stream(
            core_group,
            f"{self.name}: normalise",
            iterations=items.steps,
            whole=items.whole_steps,
            period=items.step_blocks[1],
            inputs=[
                items.boxes(arguments["x"], at),
                *(items.vectors(arguments[name], at) for name in shape.vectors),
            ],
            outputs=[items.boxes(arguments["y"], at)],
            cycles=lambda step: items.busy(number, scaled),
            run_at=normalise,
            resident=[mean, squares],
        )
        tiles = {"mean": mean, "inverse_deviation": squares}
        for name in shape.statistics:
            operand = items.statistics(arguments[name], at)
            core_group.wait(core_group.put(tiles[name], operand.array, operand.start(0)))
        core_group.free(mean, squares)


def whole_item(iteration: int) -> tuple[int, int]:
    """Round and step where every round is one step."""
    return iteration, 0


def steps_of(number: int) -> Callable[[int], tuple[int, int]]:
    """Round and step of the steps of round ``number``."""
    return lambda step: (number, step)


def over(values: Array) -> Array:
    """A number per sample and group for all of its pixels and channels."""
    return values[:, :, None, :, None]


def _affine(y: Array, vectors: Sequence[Array]) -> None:
    """Times gamma, plus beta, as far as there are any: (CPEs or 1, groups, channels) each."""
    if vectors:
        y *= vectors[0][:, None, None]
    if len(vectors) > 1:
        y += vectors[1][:, None, None]
