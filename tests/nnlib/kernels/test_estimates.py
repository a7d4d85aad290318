"""What ranks plans agrees with what is simulated, where nothing overlaps and blocks lie apart."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from sim.chip.core_group import CoreGroup
from sim.chip.dma import Box, DmaTicks, count
from sim.chip.memory import MemoryArray
from sim.chip.scheduler import schedule
from sim.chip.tile import Split
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from sim.time import TICKS_PER_CYCLE

FP64 = np.dtype(np.float64)


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@pytest.mark.parametrize(
    ("length", "least", "parts"),
    [(1, 1, [1]), (2, 1, [1, 2]), (8, 1, [1, 2, 4, 8]), (9, 1, [1, 2, 4, 8, 9]), (10, 4, [4, 8, 10]), (3, 4, [3])],
)
def test_parts_double_up_to_the_whole(length: int, least: int, parts: list[int]) -> None:
    assert doubling(length, least=least) == parts


@pytest.mark.parametrize("schedule_name", ["compiler", "swdnn-2016", "autotuned-2019"])
def test_a_mesh_product_takes_what_is_simulated(processor: ProcessorSpec, schedule_name: str) -> None:
    group = CoreGroup(processor=processor, numerics=False)
    a, b, c = (group.alloc(name, size=(20, 20), dtype=FP64, split=Split(0, 1)) for name in "abc")
    group.compute("fill", cycles=0, writes=[a, b, c])
    group.mesh_gemm("gemm", c=c, a=a, b=b, schedule=schedule_name)
    ticks = schedule(trace=group.finish(), processor=processor).ticks
    estimate = mesh_gemm_cycles(processor, dtype="fp64", m=20, n=20, k=20, schedule=schedule_name)
    assert estimate * TICKS_PER_CYCLE == pytest.approx(ticks, abs=processor.mesh.columns)


@pytest.mark.parametrize(("blocks", "elements"), [(1, 16), (5, 16), (3, 100), (7, 160)])
def test_a_transfer_takes_the_engine_as_long_as_its_requests(
    processor: ProcessorSpec, blocks: int, elements: int
) -> None:
    array = MemoryArray(name="x", shape=(64 * blocks, 4096), dtype=FP64, address=0)
    starts = np.stack([np.arange(64) * blocks, np.full(64, 64)], axis=1)
    requests = count(
        box=Box(array=array, size=(blocks, elements), starts=starts),
        direction="get",
        dma=processor.dma,
        ticks=DmaTicks.of(processor),
    )
    served = int((requests.lines * requests.quantum + requests.first).sum()) / TICKS_PER_CYCLE
    estimate = transfer_cycles(processor, blocks=blocks, run_bytes=elements * FP64.itemsize)
    assert estimate == pytest.approx(served, rel=0.01)
