"""The part of an image-size-aware convolution that one of several core groups does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.implicit.image_plan import ImagePass
from nnlib.kernels.implicit.image_rules import image_plan
from nnlib.kernels.implicit.image_search import Estimates
from nnlib.kernels.implicit.image_share import image_share, row_share, shared_kernel
from nnlib.kernels.implicit.implicit_image import ImplicitImage
from nnlib.kernels.simulation import simulate
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def task_of(convolution: Convolution, which: Pass = "forward") -> ImagePass:
    return ImagePass(convolution=convolution, which=which, dtype="fp32", library="autotuned-2019")


def test_rows_are_those_of_the_core_group_with_most() -> None:
    valid = task_of(Convolution(batch=8, ni=8, no=8, ri=16, ci=16, kr=3, kc=3))
    assert row_share(valid, 4).share == (0, 4)
    assert row_share(valid, 1).share is None
    padded = task_of(Convolution(batch=8, ni=8, no=8, ri=16, ci=16, kr=3, kc=3, padding=1))
    assert row_share(padded, 4).share == (4, 8)
    assert image_share(padded, 3).convolution.batch == 3


def test_a_single_image_is_shared_by_rows_and_many_small_ones_by_images(processor: ProcessorSpec) -> None:
    single = Convolution(batch=1, ni=64, no=64, ri=32, ci=32, kr=3, kc=3, padding=1)
    assert shared_kernel(task_of(single), 4, processor).share == (8, 16)
    many = Convolution(batch=256, ni=64, no=64, ri=5, ci=5, kr=3, kc=3, padding=1)
    kernel = shared_kernel(task_of(many), 4, processor)
    assert (kernel.share, kernel.convolution.batch) == (None, 64)


@pytest.mark.slow
@pytest.mark.parametrize("which", PASSES)
def test_the_estimate_ranks_as_the_simulation_does(which: Pass, processor: ProcessorSpec) -> None:
    """A plan with single channels is far slower than the chosen one, in both."""

    convolution = Convolution(batch=32, ni=64, no=64, ri=10, ci=10, kr=3, kc=3, padding=1)
    task = task_of(convolution, which)
    chosen = image_plan(task, processor)
    poor = replace(chosen, source_channels=1, target_channels=1)
    estimates = Estimates(task, processor, chosen.order)
    times = [
        simulate(
            ImplicitImage(convolution=convolution, which=which, dtype="fp32", library="autotuned-2019", plan=plan),
            processor=processor,
        ).ticks
        / 1000
        for plan in (chosen, poor)
    ]
    assert 2 * times[0] < times[1]
    for plan, time in zip((chosen, poor), times, strict=True):
        assert estimates.cycles(plan) == pytest.approx(time, rel=0.25)
