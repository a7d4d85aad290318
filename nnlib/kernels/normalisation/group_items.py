"""Work over (samples, pixels, groups, channels of a group) dealt out to the CPEs: whole groups of samples each.

An item is what a CPE normalises at a time: several samples with all their groups, or some groups of one sample. Where
its numbers fit the LDM they come once. Else they pass by in steps, blocks of pixels or of a group's channels, as often
as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import gcd

import numpy as np

from nnlib.kernels.estimates import block_seconds, doubling
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.streaming import Operand
from nnlib.kernels.window import MISSING
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import MemoryArray
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

Extent = tuple[int, int, int, int]
"""Samples, pixels, groups and channels of a group."""


@dataclass(frozen=True)
class GroupItems:
    """All items of arrays of ``extent``: each ``samples`` and ``groups``, in steps of ``pixels`` and ``channels``."""

    extent: Extent
    samples: int
    pixels: int
    groups: int
    channels: int
    cpes: int

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks of samples, and of groups in each."""
        return -(-self.extent[0] // self.samples), -(-self.extent[2] // self.groups)

    @property
    def number(self) -> int:
        """How many items there are."""
        return self.blocks[0] * self.blocks[1]

    @property
    def rounds(self) -> int:
        """In each of them every CPE has at most one item."""
        return -(-self.number // self.cpes)

    @property
    def whole(self) -> range:
        """The rounds in which every CPE has an item of full size."""
        full = self.extent[0] // self.samples * self.blocks[1] if self.blocks[1] == 1 else self.number
        return range(full // self.cpes)

    @property
    def period(self) -> int:
        """Rounds after which every CPE is at the same groups of other samples."""
        return self.blocks[1] // gcd(self.blocks[1], self.cpes)

    @property
    def step_blocks(self) -> tuple[int, int]:
        """Blocks of pixels, and of channels in each."""
        return -(-self.extent[1] // self.pixels), -(-self.extent[3] // self.channels)

    @property
    def steps(self) -> int:
        """Steps of an item; 1: it fits the LDM whole."""
        return self.step_blocks[0] * self.step_blocks[1]

    @property
    def whole_steps(self) -> range:
        """The steps that have full blocks of pixels."""
        return range(self.extent[1] // self.pixels * self.step_blocks[1])

    @property
    def same_vectors(self) -> bool:
        """True if all items have the same channels, and all of them at once."""
        return self.blocks[1] == 1 and self.steps == 1

    def first(self, step: int) -> tuple[int, int]:
        """First pixel and channel of a step."""
        pixel, channel = divmod(step, self.step_blocks[1])
        return pixel * self.pixels, channel * self.channels

    def size(self, step: int) -> tuple[int, int]:
        """Pixels and channels of a step that lie inside."""
        pixel, channel = self.first(step)
        return min(self.pixels, self.extent[1] - pixel), min(self.channels, self.extent[3] - channel)

    def before(self, step: int) -> int:
        """Numbers of a group in the steps before."""
        pixel, channel = self.first(step)
        return pixel * self.extent[3] + self.size(step)[0] * channel

    def origins(self, round_: int) -> tuple[Integers, Integers]:
        """First sample and group of each CPE's item; a sample outside for none."""
        numbers = round_ * self.cpes + np.arange(self.cpes)
        inside = numbers < self.number
        sample, group = np.divmod(np.where(inside, numbers, 0), self.blocks[1])
        return np.where(inside, sample * self.samples, MISSING), np.where(inside, group * self.groups, MISSING)

    def busy(self, round_: int, cycles: float) -> list[float]:
        """``cycles`` for each CPE that has an item."""
        have = self.number - round_ * self.cpes
        return [cycles if cpe < have else 0.0 for cpe in range(self.cpes)]

    def boxes(self, array: MemoryArray, at: Callable[[int], tuple[int, int]]) -> Operand:
        """The numbers of ``array`` (batch, pixels, all channels); ``at`` gives round and step of an iteration."""

        def start(iteration: int) -> Integers:
            round_, step = at(iteration)
            sample, group = self.origins(round_)
            pixel, channel = self.first(step)
            return np.stack([sample, np.full_like(sample, pixel), group, np.full_like(sample, channel)], axis=1)

        size = (self.samples, self.pixels, self.groups, self.channels)
        return Operand(array=array.reshape(*self.extent), size=size, start=start, split=None)

    def vectors(self, array: MemoryArray, at: Callable[[int], tuple[int, int]]) -> Operand:
        """A number for each channel, of ``array`` (all channels)."""

        def start(iteration: int) -> Integers:
            round_, step = at(iteration)
            _, group = self.origins(round_)
            return np.stack([group, np.full_like(group, self.first(step)[1])], axis=1)

        shape = self.extent[2:]
        return Operand(array=array.reshape(*shape), size=(self.groups, self.channels), start=start, split=None)

    def statistics(self, array: MemoryArray, at: Callable[[int], tuple[int, int]]) -> Operand:
        """A number for each sample and group, of ``array`` (batch, groups)."""
        return Operand(
            array=array,
            size=(self.samples, self.groups),
            start=lambda iteration: np.stack(self.origins(at(iteration)[0]), axis=1),
            split=None,
        )

    def sample_vectors(
        self, array: MemoryArray, at: Callable[[int], tuple[int, int]], *, blocks: bool = False
    ) -> Operand:
        """A number for each sample and channel, of ``array`` (batch, all channels); of whole groups, or of a step."""

        def start(iteration: int) -> Integers:
            round_, step = at(iteration)
            sample, group = self.origins(round_)
            first = self.first(step)[1] if blocks else 0
            return np.stack([sample, group, np.full_like(sample, first)], axis=1)

        batch, _, groups, channels = self.extent
        size = (self.samples, self.groups, self.channels if blocks else channels)
        return Operand(array=array.reshape(batch, groups, channels), size=size, start=start, split=None)


def plan_groups(
    *,
    kernel: str,
    extent: Extent,
    streams: int,
    vectors: int,
    statistics: int,
    sample_vectors: int,
    item: int,
    body: Body,
    processor: ProcessorSpec,
) -> GroupItems:
    """The items with the least estimated time among those that fit the LDM.

    Of elements of ``item`` bytes: ``streams`` arrays pass by twice buffered, as do ``vectors`` of a number per channel;
    of ``statistics`` there is a number per sample and group, of ``sample_vectors`` one per sample and channel.
    ``body``: instructions for a vector. Raises InfeasiblePlan if the smallest does not fit.
    """
    batch, pixels, groups, channels = extent
    cpes, dma, available = processor.cpes_per_core_group, processor.dma, processor.cpe.ldm_bytes

    def needed(found: GroupItems) -> int:
        box = found.samples * found.pixels * found.groups * found.channels
        few = found.samples * found.groups
        return 2 * (
            streams * aligned(box * item)
            + vectors * aligned(found.groups * found.channels * item)
            + statistics * aligned(few * item)
            + sample_vectors * aligned(few * channels * item)
        )

    def seconds(found: GroupItems) -> float:
        box = found.samples * found.pixels * found.groups * found.channels
        run = found.channels if found.channels < channels else found.groups * channels
        run = box if run == groups * channels and found.pixels == pixels else run
        run = found.pixels * run if run == groups * channels else run
        passes = 1.0 if found.steps == 1 else 1.7  # what is read is read once more
        move = streams * (dma.request_seconds + block_seconds(dma, blocks=-(-box // run), run_bytes=run * item))
        compute = stream_cycles(cpe=processor.cpe, body=body, elements=box) / processor.clock_hertz
        startup = dma.startup_cycles / processor.clock_hertz
        return passes * found.steps * (found.number * move + found.rounds * (compute + startup))

    def items(*, of_groups: int, samples: int = 1, height: int = 1, width: int = channels) -> GroupItems:
        return GroupItems(extent, samples, height, of_groups, width, cpes)

    def fits(found: GroupItems) -> bool:
        return needed(found) <= available

    def largest(of_groups: int) -> GroupItems | None:
        """Whole samples if one fits, else as many of a sample's pixels as fit, else of a pixel's channels."""
        by_samples = partial(items, of_groups=of_groups, height=pixels)
        by_pixels = partial(items, of_groups=of_groups)
        if fits(by_samples()):
            most = -(-batch // cpes) if of_groups == groups else 1
            return by_samples(samples=_most(most, lambda n: fits(by_samples(samples=n))))
        if fits(by_pixels()):
            return by_pixels(height=_most(pixels, lambda n: fits(by_pixels(height=n))))
        if of_groups == 1 and fits(by_pixels(width=1)):
            return by_pixels(width=_most(channels, lambda n: fits(by_pixels(width=n))))
        return None

    candidates = [found for found in map(largest, doubling(groups)) if found is not None]
    if not candidates:
        raise InfeasiblePlan(kernel=kernel, needed=needed(items(of_groups=1, width=1)), available=available)
    return min(candidates, key=seconds)


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to ``limit`` that fits; 1 does."""
    least, beyond = 1, limit + 1
    while beyond - least > 1:
        middle = (least + beyond) // 2
        least, beyond = (middle, beyond) if fits(middle) else (least, middle)
    return least
