"""Dropout: each CPE computes the random bits of its own elements, so that no mask lies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.blocks import Blocks, plan_blocks
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import ItemBox
from nnlib.ops.dropout import dropout_forward, keep_at, keep_mask, samples_from
from nnlib.ops.random_bits import LANES, ROUNDS
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split
from sim.machine.spec import CpeSpec, ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

HYPER: Final = 8
"""Numbers of ``hyper``: four pieces of 16 bits each of the key and of the first sample's number, lowest first."""
ROUND_INSTRUCTIONS: Final = 12
"""Of a round of Philox: two products, their halves apart (4), four exclusive ors, two sums of the key."""


@dataclass(frozen=True)
class Dropout:
    """``y = x / (1 - rate)`` where the element of its sample is kept, else 0; the gradient is the same of the gradient.

    ``hyper`` (8,) decides which are kept, with the numbers of sample and element (:func:`nnlib.ops.dropout.keep_mask`).
    """

    samples: int
    elements: int
    rate: float
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "dropout"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.samples, self.elements)
        return Parameter("x", shape, "in"), Parameter("hyper", (HYPER,), "in"), Parameter("y", shape, "out")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        key, first = key_and_sample(arrays["hyper"])
        mask = keep_mask(key, first, (self.samples, self.elements), self.rate)
        arrays["y"][...] = dropout_forward(arrays["x"], mask, self.rate)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        dtype, cpe = DTYPES[self.dtype], core_group.cpe
        blocks = _plan(self, core_group.processor)
        hyper = core_group.alloc("hyper", size=(HYPER,), dtype=dtype, split=Split())
        core_group.wait(core_group.get(hyper, arguments["hyper"], (0,)))

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            key, first = key_and_sample(hyper.values())
            places = blocks.origins(iteration)
            inside = places[:, 0] < self.samples
            sample = places[inside, 0, None, None] + np.arange(blocks.block[0])[:, None]
            element = places[inside, 1, None, None] + np.arange(blocks.block[1])
            sample, element = np.broadcast_arrays(sample, element)
            mask = keep_at(key, samples_from(first, sample), element, self.rate)
            outs[0][...] = 0
            outs[0][inside] = dropout_forward(ins[0][inside], mask, self.rate)

        stream(
            core_group,
            self.name,
            iterations=blocks.iterations,
            whole=blocks.whole,
            period=blocks.period,
            inputs=[Operand(arguments["x"], blocks.block, blocks.origins, None)],
            outputs=[Operand(arguments["y"], blocks.block, blocks.origins, None)],
            cycles=blocks.cycles(_cycles(cpe, prod(blocks.block))),
            run_at=run_at,
            flops=self.samples * self.elements,
            resident=[hyper],
        )
        core_group.free(hyper)


def key_and_sample(hyper: Array) -> tuple[int, int]:
    """The key and the first sample's number from their pieces."""
    pieces = [int(each) for each in hyper]
    key, sample = (sum(piece << 16 * place for place, piece in enumerate(part)) for part in (pieces[:4], pieces[4:]))
    return key, sample


def _cycles(cpe: CpeSpec, elements: int) -> float:
    """Integers are no vectors: the bits of a vector's numbers come one after the other."""
    counters = -(-cpe.vector_lanes // LANES)
    body = Body(loads=1, stores=1, arithmetic=counters * ROUNDS * ROUND_INSTRUCTIONS + 2 * cpe.vector_lanes + 1)
    return stream_cycles(cpe=cpe, body=body, elements=elements)


@lru_cache(maxsize=64)
def _plan(kernel: Dropout, processor: ProcessorSpec) -> Blocks:
    shape, item = (kernel.samples, kernel.elements), DTYPES[kernel.dtype].itemsize
    return plan_blocks(
        kernel=kernel.name,
        shape=shape,
        item_bytes=item,
        boxes=lambda block: [ItemBox(block, shape)] * 2,
        processor=processor,
        resident=lambda block: aligned(HYPER * item),
        cycles=lambda block: _cycles(processor.cpe, prod(block)),
    )
