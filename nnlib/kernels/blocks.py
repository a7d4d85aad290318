"""Work over an array of any number of axes, cut into equal blocks that are dealt out to the CPEs in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd, prod

import numpy as np

from nnlib.kernels.estimates import block_seconds
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.window import MISSING, ItemBox
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.machine.spec import ProcessorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Blocks:
    """An array of ``shape`` in blocks of ``block`` numbers per axis, the last axis fastest.

    ``seconds``: an estimate of their DMA.
    """

    shape: Shape
    block: Shape
    cpes: int
    seconds: float = 0.0

    @property
    def counts(self) -> Shape:
        """Blocks along each axis."""
        return tuple(-(-length // size) for length, size in zip(self.shape, self.block, strict=True))

    @property
    def number(self) -> int:
        """How many there are."""
        return prod(self.counts)

    @property
    def iterations(self) -> int:
        return -(-self.number // self.cpes)

    @property
    def whole(self) -> range:
        """The iterations in which every CPE has a block, none of them the rest of the first axis."""
        return range(self.shape[0] // self.block[0] * prod(self.counts[1:]) // self.cpes)

    @property
    def period(self) -> int:
        """Iterations after which every CPE is at the same place of the axes but the first."""
        inner = prod(self.counts[1:])
        return inner // gcd(inner, self.cpes)

    def origins(self, iteration: int) -> Integers:
        """Where each CPE's block begins, (CPEs, axes); outside every array for none."""
        numbers = iteration * self.cpes + np.arange(self.cpes)
        inside = numbers < self.number
        places = np.stack(np.unravel_index(np.where(inside, numbers, 0), self.counts), axis=1).astype(np.int64)
        return np.where(inside[:, None], places * self.block, MISSING)

    def busy(self, iteration: int) -> list[bool]:
        """Which CPEs have a block."""
        have = self.number - iteration * self.cpes
        return [cpe < have for cpe in range(self.cpes)]

    def cycles(self, per_block: float) -> Callable[[int], list[float]]:
        """``per_block`` cycles for each CPE that has a block."""
        return lambda iteration: [per_block if busy else 0.0 for busy in self.busy(iteration)]


def plan_blocks(
    *,
    kernel: str,
    shape: Shape,
    item_bytes: int,
    boxes: Callable[[Shape], Sequence[ItemBox]],
    processor: ProcessorSpec,
    resident: Callable[[Shape], int] = lambda block: 0,
    rounds: Callable[[Shape], int] = lambda block: 1,
    cycles: Callable[[Shape], float] = lambda block: 0.0,
) -> Blocks:
    """Blocks grown from one number, each time along the axis that saves most of the estimated time.

    ``boxes``: what a block transfers, elements of ``item_bytes``, held twice; ``resident``: bytes held besides;
    ``rounds``: how often its transfers are repeated; ``cycles``: what a CPE computes on it each time. Raises
    InfeasiblePlan if one number does not fit.
    """
    cpes, dma = processor.cpes_per_core_group, processor.dma
    startup = dma.startup_cycles / processor.clock_hertz

    def needed(block: Shape) -> int:
        return resident(block) + 2 * sum(aligned(box.elements * item_bytes) for box in boxes(block))

    def seconds(block: Shape) -> float:
        number = Blocks(shape, block, cpes).number
        moved = boxes(block)
        service = dma.request_seconds * len(moved)
        for box in moved:
            service += block_seconds(dma, blocks=box.elements // box.run, run_bytes=box.run * item_bytes)
        moved_bytes = sum(box.elements for box in moved) * item_bytes
        busy = max(moved_bytes / dma.channel_bytes_per_second, cycles(block) / processor.clock_hertz)
        turns = -(-number // cpes)
        # the engine serves all blocks, a CPE only its own
        return rounds(block) * (max(number * service, turns * busy) + turns * startup)

    block = (1,) * len(shape)
    if needed(block) > processor.cpe.ldm_bytes:
        raise InfeasiblePlan(kernel=kernel, needed=needed(block), available=processor.cpe.ldm_bytes)
    best = seconds(block)
    while True:
        grown = [
            (seconds(larger), larger) for larger in _larger(block, shape) if needed(larger) <= processor.cpe.ldm_bytes
        ]
        if not grown or min(grown)[0] > best:
            return Blocks(shape, block, cpes, best)
        best, block = min(grown)


def _larger(block: Shape, shape: Shape) -> list[Shape]:
    """The block with one axis twice as long, or as long as the array."""
    return [
        (*block[:axis], min(2 * block[axis], length), *block[axis + 1 :])
        for axis, length in enumerate(shape)
        if block[axis] < length
    ]
