"""Kernels over sliding windows: what im2col, col2im and pooling share.

The work is cut into items, one per CPE and iteration: a sample, a block of rows, a block of columns and a block of
channels. Items are dealt out to the CPEs in turn; what a box reaches beyond the image comes in as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.streaming import Operand
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import MemoryArray
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True)
class Window:
    """Images (batch, height, width, channels) under a kernel (kh, kw) with stride and zero padding."""

    batch: int
    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0

    @property
    def out_height(self) -> int:
        return (self.height + 2 * self.padding - self.kernel[0]) // self.stride + 1

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding - self.kernel[1]) // self.stride + 1

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


@dataclass(frozen=True, eq=False)
class Boxes:
    """``size`` elements of an array for each item, from ``starts`` (iterations, CPEs, axes)."""

    size: tuple[int, ...]
    starts: Integers

    def operand(self, array: MemoryArray) -> Operand:
        """The boxes of ``array`` as a stream."""
        return Operand(array=array, size=self.size, start=lambda iteration: self.starts[iteration], split=None)


@dataclass(frozen=True, eq=False)
class Items:
    """All items of a kernel: first row, column and channel of each, in the order in which they are dealt out."""

    plan: ItemPlan
    origins: Integers  # (items, 4): sample, row, column, channel
    cpes: int

    @property
    def iterations(self) -> int:
        return -(-len(self.origins) // self.cpes)

    def active(self, iteration: int) -> list[bool]:
        """Which CPEs have an item."""
        have = len(self.origins) - iteration * self.cpes
        return [cpe < have for cpe in range(self.cpes)]

    def cycles(self, per_item: float) -> Callable[[int], Sequence[float]]:
        """``per_item`` cycles for each CPE that has an item."""
        return lambda iteration: [per_item if active else 0.0 for active in self.active(iteration)]

    def boxes(self, size: tuple[int, ...], start: Callable[[Integers], Sequence[Integers]]) -> Boxes:
        """A box per item: ``start(origins)`` gives one array of indices per axis of the array.

        A CPE without an item gets a sample outside every array.
        """
        missing = np.full((self.iterations * self.cpes - len(self.origins), 4), 1 << 30)
        starts = np.stack(start(np.concatenate([self.origins, missing]).T), axis=1)
        return Boxes(size=size, starts=starts.reshape(self.iterations, self.cpes, -1))


def plan_items(
    *,
    kernel: str,
    batch: int,
    rows: int,
    columns: int,
    channels: int,
    multiple: int,
    item_bytes: int,
    boxes: Callable[[ItemPlan], Sequence[ItemBox]],
    processor: ProcessorSpec,
) -> Items:
    """The items with the least estimated DMA time among those that fit the LDM twice.

    ``boxes`` gives what an item transfers, elements of ``item_bytes``; rows and columns are cut in multiples of
    ``multiple``. Raises InfeasiblePlan if the smallest item does not fit.
    """
    cpes, dma = processor.cpes_per_core_group, processor.dma
    startup = dma.startup_cycles / processor.clock_hertz
    best: tuple[float, ItemPlan] | None = None
    smallest: int | None = None
    for plan in (
        ItemPlan(*sizes) for sizes in product(_cuts(rows, multiple), _cuts(columns, multiple), _cuts(channels, 1))
    ):
        moved = boxes(plan)
        needed = 2 * sum(aligned(box.elements * item_bytes) for box in moved)
        smallest = needed if smallest is None else min(smallest, needed)
        if needed > processor.cpe.ldm_bytes:
            continue
        items = batch * -(-rows // plan.rows) * -(-columns // plan.columns) * -(-channels // plan.channels)
        service = dma.request_seconds * len(moved)
        for box in moved:
            lines = -(-box.run * item_bytes // dma.line_bytes)
            service += box.elements // box.run * (lines * dma.line_seconds + dma.block_seconds)
        # the engine serves all items; one startup a round is not hidden when the CPEs run dry
        estimate = items * service + -(-items // cpes) * startup
        if best is None or estimate < best[0]:
            best = (estimate, plan)
    if best is None:
        raise InfeasiblePlan(kernel=kernel, needed=smallest or 0, available=processor.cpe.ldm_bytes)
    plan = best[1]
    origins = np.array(
        list(
            product(
                range(batch),
                range(0, rows, plan.rows),
                range(0, columns, plan.columns),
                range(0, channels, plan.channels),
            )
        ),
        dtype=np.int64,
    )
    return Items(plan=plan, origins=origins, cpes=cpes)


def _cuts(length: int, multiple: int) -> list[int]:
    """Block lengths: ``multiple`` times powers of two below ``length``, and ``length``."""
    cuts = []
    block = multiple
    while block < length:
        cuts.append(block)
        block *= 2
    return [*cuts, length]
