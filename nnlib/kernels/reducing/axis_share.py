"""A long axis of few rows and columns, shared out: each CPE reduces its part, the mesh brings the parts together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.blocks import Shape
from nnlib.kernels.estimates import block_seconds, doubling
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import MISSING, ItemBox
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array, MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

Combine = Callable[[Array, int], Array]
"""An array and the axis over which it is reduced."""


@dataclass(frozen=True)
class AxisShare:
    """(outer, length, inner) where ``share`` CPEs go together through the axis of one row and ``columns`` columns.

    A CPE's part of the axis comes in ``parts`` parts of ``depth``. ``seconds``: an estimate of the DMA.
    """

    shape: Shape
    cpes: int
    columns: int
    share: int
    depth: int
    parts: int
    seconds: float

    @property
    def across(self) -> int:
        """Blocks of columns."""
        return -(-self.shape[2] // self.columns)

    @property
    def number(self) -> int:
        """Rows and blocks of columns."""
        return self.shape[0] * self.across

    @property
    def whole(self) -> range:
        """The parts that every CPE has whole."""
        last = self.shape[1] - (self.share - 1) * self.parts * self.depth
        return range(max(last // self.depth, 0))

    def places(self, part: int) -> Integers:
        """Where each CPE's part of the axis begins, (CPEs, 3)."""
        cpe = np.arange(self.cpes)
        block = cpe // self.share
        places = [block // self.across, (cpe % self.share * self.parts + part) * self.depth, block % self.across]
        found = np.stack(places, axis=1).astype(np.int64)
        found[:, 2] *= self.columns
        found[block >= self.number] = MISSING
        return found

    def results(self) -> Integers:
        """Where the first CPE of each row and block of columns puts the result, (CPEs, 2)."""
        found = self.places(0)[:, [0, 2]]
        found[np.arange(self.cpes) % self.share != 0] = MISSING
        return found


def plan_share(shape: Shape, item_bytes: int, processor: ProcessorSpec) -> AxisShare | None:
    """The share with the least estimated time; None if rows and columns alone keep all CPEs busy, or nothing fits."""
    outer, length, inner = shape
    cpes, dma = processor.cpes_per_core_group, processor.dma
    best: AxisShare | None = None
    for columns in doubling(inner):
        number = outer * -(-inner // columns)
        share = min(cpes // number, length)
        row = columns * item_bytes
        room = (processor.cpe.ldm_bytes - 2 * aligned(row)) // 2 // aligned(row) * aligned(row)
        if share < 2 or room < row:
            continue
        chunk = -(-length // share)
        parts = -(-chunk // (room // row))
        depth = -(-chunk // parts)
        run = ItemBox((1, depth, columns), shape)
        service = dma.request_seconds
        service += block_seconds(dma, blocks=run.elements // run.run, run_bytes=run.run * item_bytes)
        busy = run.elements * item_bytes / dma.channel_bytes_per_second
        seconds = parts * (max(number * share * service, busy) + dma.startup_cycles / processor.clock_hertz)
        if best is None or seconds < best.seconds:
            best = AxisShare(shape, cpes, columns, share, depth, parts, seconds)
    return best


def reduce_shared(
    core_group: CoreGroup,
    label: str,
    plan: AxisShare,
    *,
    x: MemoryArray,
    y: MemoryArray,
    combine: Combine,
    neutral: float,
    factor: np.floating,
    flops: int,
) -> None:
    """``y`` (outer, inner) = ``factor`` · ``combine`` over the axis; ``neutral`` changes no result."""
    cpe, columns = core_group.cpe, plan.columns
    partial = core_group.alloc("partial", size=(1, columns), dtype=x.dtype)
    length = plan.shape[1]

    def run_at(part: int, ins: Sequence[Array], _: Sequence[Array]) -> None:
        inside = plan.places(part)[:, 1, None] + np.arange(plan.depth) < length
        found = combine(np.where(inside[:, None, :, None], ins[0], neutral).astype(x.dtype, copy=False), 2)
        sofar = partial.values()
        sofar[...] = found if part == 0 else combine(np.stack([sofar, found]), 0)

    busy = plan.places(0)[:, 0] < plan.shape[0]
    per_part = stream_cycles(cpe=cpe, body=Body(loads=1, arithmetic=1), elements=plan.depth * columns)
    per_part += stream_cycles(cpe=cpe, body=Body(loads=1, stores=1, arithmetic=1), elements=columns)
    stream(
        core_group,
        label,
        iterations=plan.parts,
        whole=plan.whole,
        inputs=[Operand(x, (1, plan.depth, columns), plan.places, None)],
        outputs=[],
        cycles=lambda _: np.where(busy, per_part, 0.0).tolist(),
        run_at=run_at,
        flops=flops,
        accumulators=[partial],
    )
    result = core_group.alloc("result", size=(1, columns), dtype=x.dtype)

    def collect() -> None:
        parts = partial.values()[: plan.number * plan.share]
        found = combine(parts.reshape(plan.number, plan.share, 1, columns), 1)
        result.values()[...] = neutral
        result.values()[: plan.number * plan.share : plan.share] = found * factor

    # one of each row collects from its row, then one of all from the rows
    one = stream_cycles(cpe=cpe, body=Body(loads=1, stores=1, arithmetic=1), elements=columns)
    rows, across = core_group.mesh
    core_group.row_broadcast("parts along rows")
    core_group.compute("parts along rows", cycles=(across - 1) * one, reads=[partial])
    core_group.column_broadcast("parts along columns")
    core_group.compute("parts along columns", cycles=(rows - 1) * one, reads=[partial], writes=[result], run=collect)
    core_group.wait(core_group.put(result, y, plan.results()))
    core_group.free(partial, result)
