"""The gradient of normalisation within samples by their numbers, and each sample's part of those by gamma and beta.

With one pixel those parts are as large as the array: layer normalisation gets the sums over its rows from
NormalisationSums instead, group normalisation by adding up the samples' parts (ColumnSum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.normalisation.channel_sums import keep_vectors
from nnlib.kernels.normalisation.group_items import GroupItems, plan_groups
from nnlib.kernels.normalisation.group_normalisation import INNER, GroupShape, over, steps_of, whole_item
from nnlib.kernels.streaming import Operand, stream
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class GroupNormalisationGradient:
    """``grad_x = inverse_deviation·(d − mean of d − xhat·mean of d·xhat)`` with ``d = gamma·grad_y``, means of groups.

    ``xhat = (x − mean)·inverse_deviation``; not centred: without the mean of d. ``sums``: also Σ grad_y·xhat and
    Σ grad_y over each sample's pixels, (batch, channels).
    """

    shape: GroupShape
    dtype: DTypeName
    sums: bool = False

    @property
    def name(self) -> str:
        return "group_normalisation_gradient"

    @property
    def vectors(self) -> tuple[str, ...]:
        """Of a number per channel: gamma, if there is one."""
        return self.shape.vectors[:1]

    @property
    def totals(self) -> tuple[str, ...]:
        """The samples' parts of the gradients by gamma and beta."""
        if not self.sums:
            return ()
        return ("sample_gamma", "sample_beta") if self.shape.centred else ("sample_gamma",)

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        return (
            Parameter("grad_y", shape.array, "in"),
            Parameter("x", shape.array, "in"),
            *(Parameter(name, (shape.batch, shape.groups), "in") for name in shape.statistics),
            *(Parameter(name, (shape.channels,), "in", common=True) for name in self.vectors),
            Parameter("grad_x", shape.array, "out"),
            *(Parameter(name, (shape.batch, shape.channels), "out") for name in self.totals),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        shape = self.shape
        grad, x = (arrays[name].reshape(1, *shape.extent).astype(np.float64) for name in ("grad_y", "x"))
        mean, inverse = (
            over(arrays[name][None]) if name in arrays else np.zeros((1,) * 5) for name in ("mean", "inverse_deviation")
        )
        normal = (x - mean) * inverse
        for name, summed in zip(self.totals, (grad * normal, grad), strict=False):
            arrays[name][...] = summed.sum(axis=2).reshape(shape.batch, -1)
        if shape.affine:
            grad = grad * arrays["gamma"].reshape(shape.extent[2:])
        level = normal * (grad * normal).mean(axis=INNER, keepdims=True)
        if shape.centred:
            level += grad.mean(axis=INNER, keepdims=True)
        arrays["grad_x"][...] = (inverse * (grad - level)).reshape(shape.array)

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
        """Instructions for a vector: its share of the two means, and of the samples' parts, and its gradient."""
        kept, parts = len(self.vectors), len(self.totals)
        return Body(loads=4 + 2 * kept + parts, stores=1 + parts, arithmetic=6 + 3 * self.shape.centred + kept)

    @property
    def flops(self) -> int:
        shape = self.shape
        of_each = 7 + 3 * shape.centred + 2 * shape.affine + len(self.totals)
        return shape.batch * shape.pixels * shape.channels * of_each

    def plan(self, processor: ProcessorSpec) -> GroupItems:
        """With room for the sums of all channels of an item, else of a block. Raises InfeasiblePlan."""

        def planned(*, vectors: int, sample_vectors: int) -> GroupItems:
            return plan_groups(
                kernel=self.name,
                extent=self.shape.extent,
                streams=3,
                vectors=len(self.vectors) + vectors,
                statistics=2,
                sample_vectors=sample_vectors,
                item=DTYPES[self.dtype].itemsize,
                body=self.body,
                processor=processor,
            )

        try:
            return planned(vectors=0, sample_vectors=len(self.totals))
        except InfeasiblePlan:
            return planned(vectors=len(self.totals), sample_vectors=0)

    def at_once(self, core_group: CoreGroup, arguments: Arguments, items: GroupItems) -> None:
        """Items that fit the LDM: their numbers come once."""
        cpe, shape = core_group.cpe, self.shape
        kept: dict[str, Tile] = {}
        inputs = [items.boxes(arguments[name], whole_item) for name in ("grad_y", "x")]
        inputs += [items.statistics(arguments[name], whole_item) for name in shape.statistics]
        if items.same_vectors:
            kept = keep_vectors(core_group, arguments, self.vectors, range(shape.channels))
        else:
            inputs += [items.vectors(arguments[name], whole_item) for name in self.vectors]
        count = len(shape.statistics)

        def run(ins: Sequence[Array], outs: Sequence[Array]) -> None:
            grad, x, *rest = ins
            gammas = [kept[name].values().reshape(1, *shape.extent[2:]) for name in kept] or rest[count:]
            normal = self.normal(x, rest[:count])
            for total, summed in zip(outs[1:], (grad * normal, grad), strict=False):
                total[...] = summed.sum(axis=2)
            slope = grad * gammas[0][:, None, None] if gammas else grad
            level = normal * (slope * normal).mean(axis=INNER, keepdims=True)
            if shape.centred:
                level += slope.mean(axis=INNER, keepdims=True)
            outs[0][...] = (slope - level) * over(rest[count - 1])

        elements = items.samples * items.pixels * items.groups * items.channels
        cycles = stream_cycles(cpe=cpe, body=self.body, elements=elements)
        stream(
            core_group,
            self.name,
            iterations=items.rounds,
            whole=items.whole,
            period=items.period,
            inputs=inputs,
            outputs=[
                items.boxes(arguments["grad_x"], whole_item),
                *(items.sample_vectors(arguments[name], whole_item) for name in self.totals),
            ],
            cycles=lambda number: items.busy(number, cycles),
            run=run,
            flops=self.flops,
            resident=list(kept.values()),
        )
        core_group.free(*kept.values())

    def normal(self, x: Array, statistics: Sequence[Array]) -> Array:
        """xhat of numbers (CPEs, samples, pixels, groups, channels)."""
        found: Array = (x - over(statistics[0]) if self.shape.centred else x) * over(statistics[-1])
        return found

    def in_steps(self, core_group: CoreGroup, arguments: Arguments, items: GroupItems, number: int) -> None:
        """An item of each CPE that passes by twice: for the two means, and for its gradient."""
        cpe, shape, dtype = core_group.cpe, self.shape, DTYPES[self.dtype]
        at = steps_of(number)
        given = []
        transfers = []
        for name in shape.statistics:
            operand = items.statistics(arguments[name], at)
            given.append(core_group.alloc(name, size=operand.size, dtype=dtype))
            transfers.append(core_group.get(given[-1], operand.array, operand.start(0)))
        core_group.wait(*transfers)
        names = ("along", "level")
        along, level = (core_group.alloc(name, size=(1, items.groups), dtype=dtype) for name in names)
        blockwise = items.channels < shape.extent[3]
        parts = [] if blockwise else [items.sample_vectors(arguments[name], at) for name in self.totals]
        totals = [core_group.alloc(each.array.name, size=each.size, dtype=dtype) for each in parts]
        elements = items.pixels * items.groups * items.channels

        def inputs() -> list[Operand]:
            return [
                *(items.boxes(arguments[name], at) for name in ("grad_y", "x")),
                *(items.vectors(arguments[name], at) for name in self.vectors),
            ]

        def seen(step: int, ins: Sequence[Array]) -> tuple[Array, Array, Array]:
            """grad_y, gamma·grad_y and xhat of what lies inside."""
            height, width = items.size(step)
            grad, x = (each[:, :, :height, :, :width] for each in ins[:2])
            slope = grad * ins[2][:, None, None, :, :width] if len(ins) > 2 else grad
            return grad, slope, self.normal(x, [tile.values() for tile in given])

        def clear() -> None:
            for tile in (along, level, *totals):
                tile.values()[...] = 0

        def add(step: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
            grad, slope, normal = seen(step, ins)
            along.values()[...] += (slope * normal).sum(axis=INNER)
            level.values()[...] += slope.sum(axis=INNER)
            first = items.first(step)[1]
            for total, summed in zip(totals, (grad * normal, grad), strict=False):
                total.values()[..., first : first + grad.shape[-1]] += summed.sum(axis=2)

        def finish() -> None:
            share = dtype.type(1 / shape.count)
            along.values()[...] *= share
            level.values()[...] *= share if shape.centred else 0

        def apply(step: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            height, width = items.size(step)
            _, slope, normal = seen(step, ins)
            found = slope - normal * over(along.values()) - over(level.values())
            outs[0][:, :, :height, :, :width] = found * over(given[-1].values())

        few = stream_cycles(cpe=cpe, body=Body(stores=2), elements=items.groups * (1 + len(totals) * shape.extent[3]))
        core_group.compute("clear", cycles=items.busy(number, few), writes=[along, level, *totals], run=clear)
        kept, centred = len(self.vectors), shape.centred
        body = Body(loads=2 + kept + len(totals), stores=len(totals), arithmetic=2 + 2 * centred + kept + len(totals))
        each = stream_cycles(cpe=cpe, body=body, elements=elements)
        stream(
            core_group,
            f"{self.name}: means",
            iterations=items.steps,
            whole=items.whole_steps,
            period=items.step_blocks[1],
            inputs=inputs(),
            outputs=[],
            cycles=lambda step: items.busy(number, each),
            run_at=add,
            flops=self.flops if number == 0 else 0,
            resident=given,
            accumulators=[along, level, *totals],
        )
        few = stream_cycles(cpe=cpe, body=Body(loads=2, stores=2, arithmetic=2), elements=items.groups)
        core_group.compute(
            "means", cycles=items.busy(number, few), reads=[along, level], writes=[along, level], run=finish
        )
        body = Body(loads=2 + kept, stores=1, arithmetic=3 + 2 * centred + kept)
        applied = stream_cycles(cpe=cpe, body=body, elements=elements)
        stream(
            core_group,
            f"{self.name}: gradient",
            iterations=items.steps,
            whole=items.whole_steps,
            period=items.step_blocks[1],
            inputs=inputs(),
            outputs=[items.boxes(arguments["grad_x"], at)],
            cycles=lambda step: items.busy(number, applied),
            run_at=apply,
            resident=[along, level, *given],
        )
        for tile, part in zip(totals, parts, strict=True):
            core_group.wait(core_group.put(tile, part.array, part.start(0)))
        core_group.free(along, level, *totals)
        if blockwise and self.totals:
            for block in range(items.step_blocks[1]):
                self.sums_of_block(core_group, arguments, items, number, block, given)
        core_group.free(*given)

    def sums_of_block(
        self,
        core_group: CoreGroup,
        arguments: Arguments,
        items: GroupItems,
        number: int,
        block: int,
        given: Sequence[Tile],
    ) -> None:
        """The samples' parts of a block of a wide group's channels, over all pixels."""
        cpe, dtype = core_group.cpe, DTYPES[self.dtype]

        def at(pixels: int) -> tuple[int, int]:
            return number, pixels * items.step_blocks[1] + block

        parts = [items.sample_vectors(arguments[name], at, blocks=True) for name in self.totals]
        totals = [core_group.alloc(each.array.name, size=each.size, dtype=dtype) for each in parts]

        def clear() -> None:
            for tile in totals:
                tile.values()[...] = 0

        def add(pixels: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
            height, width = items.size(at(pixels)[1])
            grad, x = (each[:, :, :height, :, :width] for each in ins)
            normal = self.normal(x, [tile.values() for tile in given])
            for total, summed in zip(totals, (grad * normal, grad), strict=False):
                total.values()[..., :width] += summed.sum(axis=2)

        few = stream_cycles(cpe=cpe, body=Body(stores=len(totals)), elements=items.channels)
        core_group.compute("clear", cycles=items.busy(number, few), writes=totals, run=clear)
        body = Body(loads=2 + len(totals), stores=len(totals), arithmetic=3 + len(totals))
        each = stream_cycles(cpe=cpe, body=body, elements=items.pixels * items.channels)
        stream(
            core_group,
            f"{self.name}: sums",
            iterations=items.step_blocks[0],
            whole=range(items.extent[1] // items.pixels),
            inputs=[items.boxes(arguments[name], at) for name in ("grad_y", "x")],
            outputs=[],
            cycles=lambda _: items.busy(number, each),
            run_at=add,
            resident=given,
            accumulators=totals,
        )
        for tile, part in zip(totals, parts, strict=True):
            core_group.wait(core_group.put(tile, part.array, part.start(0)))
        core_group.free(*totals)
