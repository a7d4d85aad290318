"""Kernels over sliding windows: what im2col, col2im and pooling share.

The work is cut into items, one per CPE and iteration: a sample, a block of rows, a block of columns and a block of
channels. Items are dealt out to the CPEs in turn; what a box reaches beyond the image comes in as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, prod
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.estimates import block_seconds, doubling
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.streaming import Operand, Run, RunAt, stream
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import MemoryArray
from sim.chip.tile import Tile
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

MISSING: Final = 1 << 30
"""An index outside every array: a CPE without an item is there."""


@dataclass(frozen=True)
class Window:
    """Images (batch, height, width, channels) under a kernel (kh, kw) with stride and zero padding.

    ``dilation``: pixels from one tap to the next.
    """

    batch: int
    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the kernel's first tap to its last."""
        return self.dilation * (self.kernel[0] - 1) + 1, self.dilation * (self.kernel[1] - 1) + 1

    @property
    def out_height(self) -> int:
        return (self.height + 2 * self.padding - self.reach[0]) // self.stride + 1

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding - self.reach[1]) // self.stride + 1

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class ItemPlan:
    """Rows, columns and channels of one item."""

    rows: int
    columns: int
    channels: int


@dataclass(frozen=True)
class ItemBox:
    """What an item transfers of an array of shape ``array``: ``size`` elements per axis."""

    size: tuple[int, ...]
    array: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.size)

    @property
    def run(self) -> int:
        """Elements of a run of consecutive ones: full trailing axes run on into the next."""
        axis = len(self.size) - 1
        while axis > 0 and self.size[axis] == self.array[axis]:
            axis -= 1
        return prod(self.size[axis:])


Place = Callable[[Integers], Sequence[Integers]]
"""From the origins (4, n) of items to one array of indices per axis of an array."""


@dataclass(frozen=True, eq=False)
class Items:
    """All items of a kernel, dealt out to ``cpes`` CPEs in turn: sample by sample, row, column and channel block.

    ``counts``: blocks along each of these; ``plan`` gives their sizes. ``seconds``: an estimate of their DMA.
    """

    plan: ItemPlan
    counts: tuple[int, int, int, int]
    cpes: int
    seconds: float

    @property
    def number(self) -> int:
        """How many there are."""
        return prod(self.counts)

    @property
    def iterations(self) -> int:
        return -(-self.number // self.cpes)

    @property
    def whole(self) -> range:
        """The iterations in which every CPE has an item."""
        return range(self.number // self.cpes)

    @property
    def period(self) -> int:
        """Iterations after which every CPE is at the same place of another sample."""
        of_sample = prod(self.counts[1:])
        return of_sample // gcd(of_sample, self.cpes)

    def origins(self, iteration: int) -> Integers:
        """First sample, row, column and channel of each CPE's item, (4, CPEs); a sample outside for none."""
        numbers = iteration * self.cpes + np.arange(self.cpes)
        inside = numbers < self.number
        blocks = np.array(np.unravel_index(np.where(inside, numbers, 0), self.counts), dtype=np.int64)
        sizes = np.array([1, self.plan.rows, self.plan.columns, self.plan.channels])
        return np.where(inside, blocks * sizes[:, None], MISSING)

    def cycles(self, per_item: float) -> Callable[[int], Sequence[float]]:
        """``per_item`` cycles for each CPE that has an item."""

        def of(iteration: int) -> list[float]:
            have = self.number - iteration * self.cpes
            return [per_item if cpe < have else 0.0 for cpe in range(self.cpes)]

        return of

    def stream(
        self,
        core_group: CoreGroup,
        label: str,
        *,
        inputs: Sequence[Operand],
        outputs: Sequence[Operand],
        cycles: float,
        run: Run | None = None,
        run_at: RunAt | None = None,
        flops: int = 0,
        accumulators: Sequence[Tile] = (),
    ) -> None:
        """Get what each item needs, compute ``cycles`` on it and put its results, the next item's get under that."""
        stream(
            core_group,
            label,
            iterations=self.iterations,
            whole=self.whole,
            period=self.period,
            inputs=inputs,
            outputs=outputs,
            cycles=self.cycles(cycles),
            run=run,
            run_at=run_at,
            flops=flops,
            accumulators=accumulators,
        )

    def boxes(self, size: tuple[int, ...], place: Place) -> Boxes:
        """A box of ``size`` per item, at ``place`` of its origin."""
        return Boxes(items=self, size=size, place=place)


@dataclass(frozen=True, eq=False)
class Boxes:
    """``size`` elements of an array for each item, from where ``place`` says."""

    items: Items
    size: tuple[int, ...]
    place: Place

    def operand(self, array: MemoryArray) -> Operand:
        """The boxes of ``array`` as a stream."""
        return Operand(
            array=array,
            size=self.size,
            start=lambda iteration: np.stack(self.place(self.items.origins(iteration)), axis=1),
            split=None,
        )


def plan_items(
    *,
    kernel: str,
    batch: int,
    rows: int,
    columns: int,
    channels: int,
    multiple: int | tuple[int, int],
    item_bytes: int,
    boxes: Callable[[ItemPlan], Sequence[ItemBox]],
    processor: ProcessorSpec,
    resident: int = 0,
) -> Items:
    """The items with the least estimated DMA time among those that fit the LDM twice beside ``resident`` bytes.

    ``boxes`` gives what an item transfers, elements of ``item_bytes``; rows and columns are cut in multiples of
    ``multiple``, one for both or one for each. Raises InfeasiblePlan if the smallest item does not fit.
    """
    cpes, dma = processor.cpes_per_core_group, processor.dma
    startup = dma.startup_cycles / processor.clock_hertz
    best: tuple[float, ItemPlan] | None = None
    smallest: int | None = None
    down, across = (multiple, multiple) if isinstance(multiple, int) else multiple
    row_blocks, column_blocks = doubling(rows, least=down), doubling(columns, least=across)
    for plan in (ItemPlan(*sizes) for sizes in product(row_blocks, column_blocks, doubling(channels))):
        moved = boxes(plan)
        needed = resident + 2 * sum(aligned(box.elements * item_bytes) for box in moved)
        smallest = needed if smallest is None else min(smallest, needed)
        if needed > processor.cpe.ldm_bytes:
            continue
        items = batch * -(-rows // plan.rows) * -(-columns // plan.columns) * -(-channels // plan.channels)
        service = dma.request_seconds * len(moved)
        for box in moved:
            service += block_seconds(dma, blocks=box.elements // box.run, run_bytes=box.run * item_bytes)
        # the engine serves all items; one startup a round is not hidden when the CPEs run dry
        estimate = items * service + -(-items // cpes) * startup
        if best is None or estimate < best[0]:
            best = (estimate, plan)
    if best is None:
        raise InfeasiblePlan(kernel=kernel, needed=smallest or 0, available=processor.cpe.ldm_bytes)
    plan = best[1]
    blocks = (-(-rows // plan.rows), -(-columns // plan.columns), -(-channels // plan.channels))
    return Items(plan=plan, counts=(batch, *blocks), cpes=cpes, seconds=best[0])
