"""Predicts the tables that time programs: ``dma_stream`` and ``dma_compute_overlap``."""

from __future__ import annotations

from typing import Final

import numpy as np

from sim.chip.core_group import CoreGroup
from sim.chip.memory import MemoryArray
from sim.chip.scheduler import schedule
from sim.machine.spec import MachineSpec, ProcessorSpec
from sim.time import seconds_from_ticks
from taihusim.validation.conditions import COMPUTE_OVERLAP, STREAM
from taihusim.validation.inputs import Inputs, Unpredictable, text, whole
from taihusim.validation.microbenchmark import FP64, begin, move

STREAM_SOURCES: Final = {"copy": 1, "triad": 2}
"""Arrays read per step."""
SMALL_STEPS, LARGE_STEPS, SMALL_BYTES = 20, 5, 4096
"""Steps to simulate until start and end no longer matter, for transfers up to SMALL_BYTES and longer ones."""
PARTS: Final = {"DMAGet", "Compute", "Sync", "RegComm", "DMAPut"}


def stream(inputs: Inputs, machine: MachineSpec) -> float:
    """GB/s of STREAM copy or triad on 64 CPEs: get, wait, put, wait, step after step."""
    processor = STREAM.processor(machine.processor)
    what = text(inputs, "what").lower()
    kinds = [sources for kind, sources in STREAM_SOURCES.items() if kind in what]
    if len(kinds) != 1:
        raise Unpredictable(f"what {inputs['what']!r} is neither copy nor triad")
    mode = text(inputs, "dma_mode")
    if mode != "PE":
        raise Unpredictable(f"DMA mode {mode} is not modelled, only PE")
    item = FP64.itemsize
    most = processor.cpe.ldm_bytes // 2
    block = whole(inputs, "block_bytes", multiple=item, most=most)
    gap = whole(inputs, "stride_bytes", multiple=item, least=0)
    total = whole(inputs, "bytes_per_dma", multiple=block, most=most)
    blocks = total // block
    steps = SMALL_STEPS if total <= SMALL_BYTES else LARGE_STEPS
    group = CoreGroup(processor=processor, numerics=False)
    rows = steps * group.cpes * blocks
    arrays = _arrays(rows, (block + gap) // item, base=int(STREAM.base_bytes.value))
    tiles = [group.alloc(name, size=(blocks, block // item), dtype=FP64) for name in ("b", "c")]
    for step in range(steps):
        starts = _starts(group, step, blocks)
        gets = [group.get(tile, array, starts) for tile, array in zip(tiles[: kinds[0]], arrays[1:], strict=False)]
        group.wait(*gets)
        move(group, "put", tiles[0], arrays[0], starts)
    timing = schedule(trace=group.finish(), processor=processor)
    seconds = seconds_from_ticks(timing.ticks, clock_hertz=processor.clock_hertz)
    return (timing.get_bytes + timing.put_bytes) / seconds / 1e9


def compute_overlap(inputs: Inputs, machine: MachineSpec) -> float:
    """Seconds of C = A·B, element by element, with the parts that the row's mode names in every step."""
    parts = text(inputs, "mode").split("+")
    if not set(parts) <= PARTS:
        raise Unpredictable(f"mode {inputs['mode']!r} has parts other than {', '.join(sorted(PARTS))}")
    processor = COMPUTE_OVERLAP.processor(machine.processor)
    length = whole(inputs, "bytes", multiple=2 * FP64.itemsize, most=2 * processor.cpe.ldm_bytes // 3) // (
        2 * FP64.itemsize
    )
    group = _overlap_program(processor, parts, length)
    timing = schedule(trace=group.finish(), processor=processor)
    seconds = seconds_from_ticks(timing.ticks, clock_hertz=processor.clock_hertz)
    return seconds + COMPUTE_OVERLAP.launch_seconds.value


def _overlap_program(processor: ProcessorSpec, parts: list[str], length: int) -> CoreGroup:
    """The program, run: ``length`` elements of each array per CPE and step."""
    group = CoreGroup(processor=processor, numerics=False)
    steps = int(COMPUTE_OVERLAP.repeats.value)
    arrays = _arrays(steps * group.cpes, length, base=int(COMPUTE_OVERLAP.base_bytes.value))
    c, a, b = (group.alloc(array.name, size=(1, length), dtype=FP64) for array in arrays)
    cycles = length * COMPUTE_OVERLAP.cycles_per_element.value
    for step in range(steps):
        starts = _starts(group, step, 1)
        if "DMAGet" in parts:
            group.wait(begin(group, "get", a, arrays[1], starts), begin(group, "get", b, arrays[2], starts))
        if "RegComm" in parts:
            group.row_broadcast("exchange along rows")
            group.column_broadcast("exchange along columns")
        if "Compute" in parts:
            group.compute("c = a·b", cycles=cycles, writes=[c])
        if "Sync" in parts:
            group.sync("sync")
        if "DMAPut" in parts:
            move(group, "put", c, arrays[0], starts)
    return group


def _arrays(rows: int, columns: int, *, base: int) -> list[MemoryArray]:
    """Three arrays of one shape, ``base`` bytes past a line, far from one another."""
    return [
        MemoryArray(name=name, shape=(rows, columns), dtype=FP64, address=base + (number << 32))
        for number, name in enumerate("cab")
    ]


def _starts(group: CoreGroup, step: int, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Step after step over the arrays, ``rows`` rows per CPE."""
    first = (step * group.cpes + np.arange(group.cpes, dtype=np.int64)) * rows
    return np.stack([first, np.zeros_like(first)], axis=1)
