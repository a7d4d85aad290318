"""The samples' shares of a loss, shared out to their positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.blocks import Blocks, plan_blocks
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


@dataclass(frozen=True)
class SpreadShares:
    """``weights`` (samples, parts): each sample's share (samples, 1) divided by ``divisor``.

    ``counted``: divided by the sample's own number ``counts`` (samples, 1) instead, by 1 where that is 0.
    """

    samples: int
    parts: int
    dtype: DTypeName
    divisor: int = 1
    counted: bool = False

    @property
    def name(self) -> str:
        return "spread_shares"

    def parameters(self) -> tuple[Parameter, ...]:
        one = (self.samples, 1)
        counts = (Parameter("counts", one, "in"),) if self.counted else ()
        return (Parameter("shares", one, "in"), *counts, Parameter("weights", (self.samples, self.parts), "out"))

    def reference(self, arrays: Mapping[str, Array]) -> None:
        inputs = [arrays[each.name] for each in self.parameters() if each.use == "in"]
        self.run(inputs, [arrays["weights"]])

    def run(self, ins: Sequence[Array], outs: Sequence[Array]) -> None:
        """Any block."""
        outs[0][...] = ins[0] / (np.maximum(ins[1], 1) if self.counted else self.divisor)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        blocks = _plan(self, core_group.processor)
        rows = blocks.block[0]

        def first_column(iteration: int) -> Integers:
            origins = blocks.origins(iteration).copy()
            origins[:, 1] = np.where(origins[:, 0] < self.samples, 0, origins[:, 1])
            return origins

        names = [each.name for each in self.parameters() if each.use == "in"]
        cpe = core_group.cpe
        cycles = stream_cycles(cpe=cpe, body=Body(stores=1), elements=prod(blocks.block))
        cycles += stream_cycles(cpe=cpe, body=Body(loads=len(names), arithmetic=1, divides=1), elements=rows)
        stream(
            core_group,
            self.name,
            iterations=blocks.iterations,
            whole=blocks.whole,
            period=blocks.period,
            inputs=[Operand(arguments[name], (rows, 1), first_column, None) for name in names],
            outputs=[Operand(arguments["weights"], blocks.block, blocks.origins, None)],
            cycles=blocks.cycles(cycles),
            run=self.run,
        )


@lru_cache(maxsize=64)
def _plan(kernel: SpreadShares, processor: ProcessorSpec) -> Blocks:
    shape, one = (kernel.samples, kernel.parts), (kernel.samples, 1)
    return plan_blocks(
        kernel=kernel.name,
        shape=shape,
        item_bytes=DTYPES[kernel.dtype].itemsize,
        boxes=lambda block: [ItemBox(block, shape), *[ItemBox((block[0], 1), one)] * (1 + kernel.counted)],
        processor=processor,
        resident=lambda block: 0,
    )
