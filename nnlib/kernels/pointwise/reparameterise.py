"""Draws from normal distributions; each CPE computes the random numbers of its own elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.blocks import Blocks, plan_blocks
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.pointwise.dropout import HYPER, ROUND_INSTRUCTIONS, key_and_sample
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import ItemBox
from nnlib.ops.random_bits import LANES, ROUNDS
from nnlib.ops.reparameterisation import noise_at, normal_noise, reparameterise_forward
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.chip.tile import Split
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Reparameterise:
    """``y = mean + noise·exp(log_variance/2)`` and, for the gradient, ``spread = (y − mean)/2``.

    ``hyper`` (8,): the key and the first sample's number, as the kernel of dropout has them. The noise is that of
    :mod:`nnlib.ops.reparameterisation`.
    """

    samples: int
    elements: int
    dtype: DTypeName

    @property
    def name(self) -> str:
        return "reparameterise"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.samples, self.elements)
        return (
            Parameter("mean", shape, "in"),
            Parameter("log_variance", shape, "in"),
            Parameter("hyper", (HYPER,), "in"),
            Parameter("y", shape, "out"),
            Parameter("spread", shape, "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        key, first = key_and_sample(arrays["hyper"])
        noise = normal_noise(key, first, (self.samples, self.elements), DTYPES[self.dtype])
        found = reparameterise_forward(arrays["mean"], arrays["log_variance"], noise)
        arrays["y"][...], arrays["spread"][...] = found

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if not even one number fits."""
        dtype, cpe = DTYPES[self.dtype], core_group.cpe
        blocks = _plan(self, core_group.processor)
        hyper = core_group.alloc("hyper", size=(HYPER,), dtype=dtype, split=Split())
        core_group.wait(core_group.get(hyper, arguments["hyper"], (0,)))
        # integers are no vectors; a logarithm, a sine and the exponential count as exponentials (an assumption)
        counters = -(-cpe.vector_lanes // LANES)
        body = Body(
            loads=2,
            stores=2,
            arithmetic=counters * ROUNDS * ROUND_INSTRUCTIONS + 2 * cpe.vector_lanes + 6,
            divides=1,
            exponentials=3,
        )

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            key, first = key_and_sample(hyper.values())
            places = blocks.origins(iteration)
            inside = places[:, 0] < self.samples
            sample = places[inside, 0, None, None] + np.arange(blocks.block[0])[:, None]
            element = places[inside, 1, None, None] + np.arange(blocks.block[1])
            sample, element = np.broadcast_arrays(np.uint64(first) + sample.astype(np.uint64), element)
            noise = noise_at(key, sample, element).astype(dtype)
            found = reparameterise_forward(ins[0][inside], ins[1][inside], noise)
            for target, values in zip(outs, found, strict=True):
                target[...] = 0
                target[inside] = values

        operands = [Operand(arguments[name], blocks.block, blocks.origins, None) for name in ("mean", "log_variance")]
        results = [Operand(arguments[name], blocks.block, blocks.origins, None) for name in ("y", "spread")]
        stream(
            core_group,
            self.name,
            iterations=blocks.iterations,
            whole=blocks.whole,
            period=blocks.period,
            inputs=operands,
            outputs=results,
            cycles=blocks.cycles(stream_cycles(cpe=cpe, body=body, elements=prod(blocks.block))),
            run_at=run_at,
            flops=4 * self.samples * self.elements,
            resident=[hyper],
        )
        core_group.free(hyper)


@lru_cache(maxsize=64)
def _plan(kernel: Reparameterise, processor: ProcessorSpec) -> Blocks:
    shape, item = (kernel.samples, kernel.elements), DTYPES[kernel.dtype].itemsize
    return plan_blocks(
        kernel=kernel.name,
        shape=shape,
        item_bytes=item,
        boxes=lambda block: [ItemBox(block, shape)] * 4,
        processor=processor,
        resident=lambda block: aligned(HYPER * item),
    )
