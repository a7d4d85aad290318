"""Predicts the tables that time single transfers: ``dma_strided_alignment``, ``dma_grid``, ``dma_block_size``."""

from __future__ import annotations

import re
from typing import Final, cast

from sim.chip.dma import Direction
from sim.machine.spec import MachineSpec
from taihusim.validation.conditions import BLOCK_SIZE, GRID, STRIDED_ALIGNMENT
from taihusim.validation.inputs import Inputs, Unpredictable, direction, text, whole
from taihusim.validation.microbenchmark import FP32, OneTransfer, first_columns

BLOCKS_PER_DMA: Final = 10
"""THESIS figure 3.7."""
LONG_TRANSFER_BYTES: Final = 32768
"""A transfer so long that its start does not matter; SWDNN17 does not state how long theirs was."""


def strided_alignment(inputs: Inputs, machine: MachineSpec) -> float:
    """GB/s of 64 CPEs that get ten blocks each, the gap between two a multiple of the block."""
    conditions = STRIDED_ALIGNMENT
    processor = conditions.processor(machine.processor)
    block = whole(inputs, "block_bytes", multiple=FP32.itemsize, most=processor.cpe.ldm_bytes // BLOCKS_PER_DMA)
    stride = text(inputs, "stride")
    found = re.fullmatch(r"stride=(?:(\d+)\*)?bsize", stride)
    if found is None:
        raise Unpredictable(f"stride {stride!r} is no multiple of bsize")
    period = int(found[1] or 1) + 1
    transfer = OneTransfer(
        direction="get",
        cpes=range(processor.cpes_per_core_group),
        blocks=BLOCKS_PER_DMA,
        block_bytes=block,
        pitch_bytes=period * block,
        interleaved=min(period, processor.mesh.columns),
        base_bytes=int(conditions.base_bytes.value),
    )
    return transfer.gigabytes_per_second(processor)


def grid(inputs: Inputs, machine: MachineSpec) -> float:
    """GB/s of some CPEs that each transfer one run of bytes, or strided blocks, once."""
    way = cast(Direction, direction(inputs))
    pattern = text(inputs, "pattern")
    _one_core_group(inputs)
    if pattern not in ("contiguous", "strided"):
        raise Unpredictable(f"pattern {pattern!r} is neither contiguous nor strided")
    processor = GRID.processor(machine.processor, put=way == "put", strided=pattern == "strided")
    cpes = whole(inputs, "cpes", most=processor.cpes_per_core_group)
    item = FP32.itemsize
    if pattern == "contiguous":
        block, blocks = whole(inputs, "bytes_per_cpe", multiple=item, most=processor.cpe.ldm_bytes), 1
        pitch = block
    else:
        block = whole(inputs, "block_bytes", multiple=item, most=processor.cpe.ldm_bytes)
        blocks = whole(inputs, "total_bytes_per_cpe", multiple=block, most=processor.cpe.ldm_bytes) // block
        pitch = max(2 * block, 2 * processor.dma.line_bytes)
    transfer = OneTransfer(
        direction=way,
        cpes=first_columns(processor, cpes),
        blocks=blocks,
        block_bytes=block,
        pitch_bytes=pitch,
        base_bytes=int(GRID.base_bytes.value),
    )
    return transfer.gigabytes_per_second(processor, skew_seconds=GRID.skew_seconds.value)


def block_size(inputs: Inputs, machine: MachineSpec) -> float:
    """GB/s of 64 CPEs that transfer many blocks of one size."""
    way = cast(Direction, direction(inputs))
    _one_core_group(inputs)
    processor = BLOCK_SIZE.processor(machine.processor, put=way == "put")
    block = whole(inputs, "block_bytes", multiple=FP32.itemsize, most=LONG_TRANSFER_BYTES)
    transfer = OneTransfer(
        direction=way,
        cpes=range(processor.cpes_per_core_group),
        blocks=LONG_TRANSFER_BYTES // block,
        block_bytes=block,
        pitch_bytes=2 * block,
        base_bytes=int(BLOCK_SIZE.base_bytes.value),
    )
    return transfer.gigabytes_per_second(processor)


def _one_core_group(inputs: Inputs) -> None:
    if text(inputs, "cgs") != "1":
        raise Unpredictable("one core group only; how several share the memory is not modelled")
