"""What transfers ask of the memory is counted once for all that cost the same, and never taken for another's."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np
import pytest

from sim.chip.dma import Direction
from sim.chip.memory import MemoryArray, MemoryUse
from sim.chip.requests import RequestCounter
from sim.chip.tile import Split, Tile
from sim.machine.spec import ProcessorSpec

FP32: Final = np.dtype(np.float32)
DIRECTIONS: Final[tuple[Direction, ...]] = ("get", "put")
SHIFTS: Final = ((0, 0), (1, 0), (0, 1))


def tile(*, size: tuple[int, ...], split: Split | None) -> Tile:
    return Tile(name="tile", size=size, dtype=FP32, split=split, mesh=(8, 8), numerics=False)


def array(*, rows: int, columns: int, address: int, common: bool) -> MemoryArray:
    return MemoryArray(name="array", shape=(rows, columns), dtype=FP32, address=address, common=common)


@pytest.mark.parametrize(("rows", "columns"), [(40, 32), pytest.param(13, 33, marks=pytest.mark.slow), (5, 5)])
@pytest.mark.parametrize("place", [(0, 0), (-2, 0), (30, 30), (3, 8)])
def test_a_remembered_count_is_the_one_that_would_be_made(
    rows: int, columns: int, place: tuple[int, int], processor: ProcessorSpec
) -> None:
    memory = MemoryUse(mode="shared", active=4)
    remembers = RequestCounter(processor, memory)
    for direction, common, address, size, split, shift in product(
        DIRECTIONS, (False, True), (0, 16), ((2, 4), (2, 5), (5, 1)), (Split(0, 1), Split(1, 0), None), SHIFTS
    ):
        memory_array = array(rows=rows, columns=columns, address=address, common=common)
        buffer = tile(size=size, split=split)
        start = place[0] + shift[0], place[1] + shift[1]
        each = start if split is not None else np.add(start, np.indices((8, 8)).reshape(2, 64).T * size)
        found = remembers.dma(direction, buffer, memory_array, each, "PE")
        anew = RequestCounter(processor, memory).dma(direction, buffer, memory_array, each, "PE")
        assert found.per_cpe == anew.per_cpe
        assert found.total_bytes == anew.total_bytes


def test_what_differs_by_whole_lines_is_counted_once(processor: ProcessorSpec) -> None:
    counter, buffer = RequestCounter(processor, MemoryUse()), tile(size=(1, 4), split=Split(0, 1))
    place = array(rows=64, columns=64, address=0, common=False)
    first = counter.dma("get", buffer, place, (0, 0), "PE")
    assert counter.dma("get", buffer, place, (8, 0), "PE") is first
    assert counter.dma("get", buffer, place, (8, 4), "PE") is not first
    assert counter.dma("get", buffer, place, (8, 0), "ROW") is not first


def test_a_mode_for_several_cpes_needs_one_start(processor: ProcessorSpec) -> None:
    counter, buffer = RequestCounter(processor, MemoryUse()), tile(size=(1, 4), split=None)
    place = array(rows=64, columns=64, address=0, common=False)
    with pytest.raises(ValueError, match="one start"):
        counter.dma("get", buffer, place, np.zeros((64, 2), dtype=np.int64), "ROW")
