"""The batch-size-aware plan: tiles compute the convolution, in blocks too, and the 2016 library's tiles are its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.generations import Library
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from nnlib.kernels.implicit.implicit_batch_plan import BatchPlan
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.simulation import empty_arrays, place, simulate
from nnlib.precision import DTypeName
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array
from sim.chip.program import DmaStart, Trace
from sim.chip.scheduler import Scheduler
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.test_taps import convolutions
from tests.nnlib.kernels.waits import check_every_wait

TOLERANCE = {"fp64": 1e-12, "fp32": 1e-5}
LIBRARIES: tuple[Library, ...] = ("swdnn-2016", "swcaffe-2018", "autotuned-2019")


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def with_ldm(processor: ProcessorSpec, size: int) -> ProcessorSpec:
    return replace(processor, cpe=replace(processor.cpe, ldm_bytes=size))


def computed(kernel: BatchSizeAware, processor: ProcessorSpec) -> None:
    """Run the kernel on random numbers; it must compute the reference and take the same time without numbers."""
    rng = np.random.default_rng(3)
    data = empty_arrays(kernel)
    for parameter in kernel.parameters():
        if parameter.use == "in":
            data[parameter.name][...] = rng.standard_normal(parameter.shape)
    expected: dict[str, Array] = {name: array.copy() for name, array in data.items()}
    kernel.reference(expected)
    timing = simulate(kernel, processor=processor, data=data)
    for name, array in data.items():
        scale = float(np.max(np.abs(expected[name]))) or 1.0
        assert float(np.max(np.abs(array - expected[name]))) <= TOLERANCE[kernel.dtype] * scale, name
    assert simulate(kernel, processor=processor) == timing


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("which", PASSES)
@settings(max_examples=8, deadline=None)
@given(
    convolution=convolutions(channels=9),
    dtype=st.sampled_from(["fp64", "fp32"]),
    library=st.sampled_from(LIBRARIES),
)
def test_the_plan_computes_the_convolution(
    convolution: Convolution, dtype: DTypeName, library: Library, which: Pass
) -> None:
    processor = load_machine("sunway_taihulight").processor
    computed(BatchSizeAware(convolution=convolution, dtype=dtype, which=which, library=library), processor)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("which", PASSES)
def test_what_does_not_fit_at_once_goes_in_blocks(which: Pass, dtype: DTypeName, processor: ProcessorSpec) -> None:
    """Everything is written once, and what is read comes again for other blocks."""
    convolution = Convolution(batch=70, ni=36, no=40, ri=3, ci=3, kr=2, kc=2, padding=1)
    kernel = BatchSizeAware(convolution=convolution, dtype=dtype, which=which)
    small = with_ldm(processor, 1024)
    computed(kernel, small)
    group = CoreGroup(processor=small, numerics=False)
    kernel.program(group, place(kernel, alignment=128))
    starts = [operation for operation in group.trace.operations if isinstance(operation, DmaStart)]
    written = sum(start.requests.total_bytes for start in starts if start.requests.direction == "put")
    read = sum(start.requests.total_bytes for start in starts if start.requests.direction == "get")
    sizes = {p.use: np.prod(p.shape) * (8 if dtype == "fp64" else 4) for p in kernel.parameters()}
    assert written == sizes["out"]
    assert read > 2 * convolution.kr * sizes["in"]


TIED = Convolution(batch=20, ni=6, no=10, ri=6, ci=5, kr=3, kc=2, stride=2, padding=1, groups=2)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize(("library", "dtype"), [("swdnn-2016", "fp64"), ("autotuned-2019", "fp32")])
@pytest.mark.parametrize("which", PASSES)
def test_every_wait_is_needed(which: Pass, library: Library, dtype: DTypeName, processor: ProcessorSpec) -> None:
    kernel = BatchSizeAware(convolution=TIED, dtype=dtype, which=which, library=library)

    check_every_wait(kernel, processor, more_than=20)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "ni", "no", "columns", "ldm"),
    [(128, 128, 128, 17, 55296), (128, 160, 192, 7, 55808), (128, 192, 256, 1, 55296), (256, 192, 160, 2, 55808)],
)
def test_the_2016_library_tiles_as_its_logs_say(
    batch: int, ni: int, no: int, columns: int, ldm: int, processor: ProcessorSpec
) -> None:
    convolution = Convolution(batch=batch, ni=ni, no=no, ri=4, ci=34, kr=3, kc=3)
    kernel = BatchSizeAware(convolution=convolution, dtype="fp64", library="swdnn-2016")
    plan = kernel.plan(processor)
    assert isinstance(plan, BatchPlan)
    assert plan.columns == columns
    assert simulate(kernel, processor=processor).ldm_high_water == ldm


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_the_tiles_of_a_planned_shape_fill_no_more_than_the_ldm(
    which: Pass, dtype: DTypeName, processor: ProcessorSpec
) -> None:
    convolution = Convolution(batch=32, ni=512, no=512, ri=3, ci=3, kr=3, kc=3, padding=1)
    group = CoreGroup(processor=processor, numerics=False, timing=False)
    kernel = BatchSizeAware(convolution=convolution, dtype=dtype, which=which)
    kernel.program(group, place(kernel, alignment=128))
    assert processor.cpe.ldm_bytes / 2 < group.ldm.high_water <= processor.cpe.ldm_bytes


def test_an_infeasible_shape_is_an_error_with_sizes(processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=128, ni=384, no=384, ri=3, ci=34, kr=3, kc=3)
    with pytest.raises(InfeasiblePlan) as caught:
        BatchSizeAware(convolution=convolution, dtype="fp64", library="swdnn-2016").plan(processor)
    assert caught.value.needed > caught.value.available == 55 * 1024
    BatchSizeAware(convolution=convolution, dtype="fp64").plan(processor)
    for which in PASSES:
        with pytest.raises(InfeasiblePlan):
            BatchSizeAware(convolution=convolution, dtype="fp64", which=which).plan(with_ldm(processor, 128))


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("which", PASSES)
def test_rows_that_repeat_are_not_simulated_again(which: Pass, processor: ProcessorSpec) -> None:
    """Ten times the rows, the same operations simulated; on few rows as if all had been."""

    def run(rows: int) -> tuple[int, int]:
        convolution = Convolution(batch=64, ni=32, no=32, ri=rows, ci=6, kr=3, kc=3, padding=1)
        kernel = BatchSizeAware(convolution=convolution, dtype="fp64", which=which)
        scheduler = Scheduler(trace=Trace(), processor=processor)
        group = CoreGroup(processor=processor, numerics=False, scheduler=scheduler, trace=scheduler.trace)
        kernel.program(group, place(kernel, alignment=128))
        timing = scheduler.finish()
        if rows < 100:
            assert timing == simulate(kernel, processor=processor, plainly=True)
        return len(scheduler.trace.operations), timing.ticks

    (few, short), (many, long) = run(30), run(300)
    assert many == few
    assert 9 < long / short < 11
