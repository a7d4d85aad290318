"""The image-size-aware convolution: its tiles compute the reference in a time that does not depend on how."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.generations import Library
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan, ldm_buffers
from nnlib.kernels.implicit.image_rules import image_plan
from nnlib.kernels.implicit.implicit_image import ImplicitImage
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.simulation import empty_arrays, simulate
from nnlib.precision import DTypeName
from sim.chip.memory import Array, MemoryUse
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait

LIBRARIES: tuple[Library, ...] = ("swdnn-2017", "swcaffe-2018", "autotuned-2019")


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


@st.composite
def kernels(draw: st.DrawFn) -> ImplicitImage:
    """Every pass over ragged shapes, with plans in both orders and shares of the rows."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    sizes = {
        "batch": draw(st.integers(1, 19)),
        "ni": groups * draw(st.integers(1, 19)),
        "no": groups * draw(st.integers(1, 19)),
        "ri": draw(st.integers(1, 9)),
        "ci": draw(st.integers(1, 9)),
        "kr": draw(st.integers(1, 3)),
        "kc": draw(st.integers(1, 3)),
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, 2)),
        "dilation": draw(st.integers(1, 2)),
    }
    reach = sizes["dilation"] * (max(sizes["kr"], sizes["kc"]) - 1) + 1
    assume(min(sizes["ri"], sizes["ci"]) + 2 * sizes["padding"] >= reach)
    convolution = Convolution(**sizes, groups=groups)
    which = draw(st.sampled_from(PASSES))
    backward = which == "input_gradient"
    rows, columns = (convolution.ri, convolution.ci) if backward else (convolution.ro, convolution.co)
    order = draw(st.sampled_from(["pixels-first", "four-images"]))
    lanes = min(4, convolution.batch) if order == "four-images" else 1
    first = draw(st.integers(0, rows - 1))
    return ImplicitImage(
        convolution=convolution,
        which=which,
        dtype=draw(st.sampled_from(["fp64", "fp32"])),
        library=draw(st.sampled_from(LIBRARIES)),
        plan=ImagePlan(
            order=order,
            spread=draw(st.sampled_from(["images", "rows"])),
            images=lanes * draw(st.integers(1, 3)),
            columns=min(columns, draw(st.integers(1, 4)) * (convolution.stride if backward else 1)),
            source_channels=draw(st.integers(1, 3)),
            target_channels=draw(st.integers(1, 3)),
            put_buffers=draw(st.integers(1, 2)),
        ),
        share=draw(st.sampled_from([None, (first, draw(st.integers(first + 1, rows)))])),
    )


def data_for(kernel: ImplicitImage) -> dict[str, Array]:
    """Random inputs, NaN outputs."""
    rng = np.random.default_rng(0)
    arrays = empty_arrays(kernel)
    for parameter in kernel.parameters():
        if parameter.use != "out":
            arrays[parameter.name][...] = rng.standard_normal(parameter.shape)
    return arrays


@pytest.mark.numeric
@settings(max_examples=4, deadline=None)
@given(kernel=kernels())
def test_tiles_compute_the_reference_in_the_same_time(kernel: ImplicitImage) -> None:
    check(kernel)


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=50, deadline=None)
@given(kernel=kernels())
def test_tiles_compute_the_reference_in_many_more_shapes(kernel: ImplicitImage) -> None:
    check(kernel)


def check(kernel: ImplicitImage) -> None:
    """Tiles against whole arrays, and a run that computes against one that does not."""
    processor = load_machine("sunway_taihulight").processor
    timing = check_tiles(kernel, processor)
    alone = simulate(kernel, processor=processor)
    assert replace(alone, loops=timing.loops) == timing


def whole_kernel(which: Pass, *, dtype: DTypeName = "fp64", library: Library = "swdnn-2017") -> ImplicitImage:
    """Many rows of a padded convolution under its library's own plan."""
    convolution = Convolution(batch=32, ni=16, no=24, ri=40, ci=20, kr=3, kc=3, padding=1)
    task = ImagePass(convolution=convolution, which=which, dtype=dtype, library=library)
    plan = image_plan(task, load_machine("sunway_taihulight").processor)
    return ImplicitImage(convolution=convolution, which=which, dtype=dtype, library=library, plan=plan)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("which", PASSES)
def test_skipped_rows_take_exactly_their_time(which: Pass, processor: ProcessorSpec) -> None:
    kernel = whole_kernel(which)
    memory = MemoryUse(mode="shared", active=4, base_offset=16)
    quick = simulate(kernel, processor=processor, memory=memory)
    plain = simulate(kernel, processor=processor, memory=memory, plainly=True)
    assert replace(quick, loops=plain.loops) == plain
    rows = next(loop for loop in quick.loops if loop.name == "rows")
    assert rows.simulated < rows.iterations / 2


@pytest.mark.timing
@pytest.mark.parametrize("put_buffers", [1, 2])
@pytest.mark.parametrize(("dtype", "library"), [("fp64", "swdnn-2017"), ("fp32", "autotuned-2019")])
@pytest.mark.parametrize("which", PASSES)
def test_every_wait_is_needed(
    which: Pass, dtype: DTypeName, library: Library, put_buffers: int, processor: ProcessorSpec
) -> None:
    kernel = ImplicitImage(
        convolution=Convolution(batch=4, ni=8, no=8, ri=4, ci=3, kr=2, kc=2),
        which=which,
        dtype=dtype,
        library=library,
        plan=ImagePlan(
            order="pixels-first", spread="images", images=1, columns=2, source_channels=1, target_channels=1,
            put_buffers=put_buffers,
        ),
    )  # fmt: skip
    check_every_wait(kernel, processor, more_than=10)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [pytest.param("fp64", marks=pytest.mark.slow), "fp32"])
@pytest.mark.parametrize("which", PASSES)
def test_the_planned_ldm_is_what_the_program_allocates(
    which: Pass, dtype: DTypeName, library: Library, processor: ProcessorSpec
) -> None:
    kernel = whole_kernel(which, dtype=dtype, library=library)
    expected = sum(ldm_buffers(kernel.task, kernel.plan, processor.mesh).values())
    assert simulate(kernel, processor=processor).ldm_high_water == expected <= processor.cpe.ldm_bytes


def task_of(library: Library, **sizes: int) -> ImagePass:
    convolution = Convolution(**{"batch": 128, "ri": 66, "ci": 66, "kr": 3, "kc": 3, **sizes})
    return ImagePass(convolution=convolution, which="forward", dtype="fp64", library=library)


def test_a_hand_written_plan_takes_fewer_input_channels_at_a_time_before_fewer_columns(
    processor: ProcessorSpec,
) -> None:
    small = image_plan(task_of("swdnn-2017", ni=128, no=128), processor)
    assert (small.columns, 8 * small.images, small.source_channels, small.target_channels) == (16, 32, 16, 16)
    large = image_plan(task_of("swdnn-2017", ni=384, no=352), processor)
    assert (large.columns, large.source_channels, large.target_channels) == (16, 16, 44)
    larger = image_plan(task_of("swdnn-2017", ni=2048, no=2048), processor)
    assert larger.target_channels < 256


def test_plans_that_cannot_be_say_why(processor: ProcessorSpec) -> None:
    with pytest.raises(UnsuitablePlan, match="library swdnn-2016 has no such plan"):
        image_plan(task_of("swdnn-2016", ni=8, no=8), processor)
    tiny = replace(processor, cpe=replace(processor.cpe, ldm_bytes=64))
    for library in LIBRARIES:
        with pytest.raises(InfeasiblePlan) as caught:
            image_plan(task_of(library, ni=8, no=8), tiny)
        assert caught.value.needed > 64
    kernel = whole_kernel("forward")
    odd = replace(kernel, plan=replace(kernel.plan, images=6))
    with pytest.raises(UnsuitablePlan, match="4 images lie side by side"):
        simulate(odd, processor=processor)
    strided = replace(whole_kernel("input_gradient").convolution, stride=3)
    bad = replace(kernel, convolution=strided, which="input_gradient", plan=replace(kernel.plan, columns=4))
    with pytest.raises(UnsuitablePlan, match="blocks of 4 columns do not fit a stride of 3"):
        simulate(bad, processor=processor)


def test_a_searched_plan_is_no_slower_than_the_hand_written_one(processor: ProcessorSpec) -> None:
    convolution = Convolution(batch=32, ni=64, no=64, ri=10, ci=18, kr=3, kc=3)
    ticks = {}
    for library in ("swcaffe-2018", "autotuned-2019"):
        task = ImagePass(convolution=convolution, which="forward", dtype="fp32", library="autotuned-2019")
        plan = image_plan(replace(task, library=library), processor)
        kernel = ImplicitImage(
            convolution=convolution, which="forward", dtype="fp32", library="autotuned-2019", plan=plan
        )
        ticks[library] = simulate(kernel, processor=processor).ticks
    assert ticks["autotuned-2019"] <= 1.05 * ticks["swcaffe-2018"]
