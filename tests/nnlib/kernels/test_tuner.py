"""The tuner takes the fastest plan, says what it left out, and remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.convolution import PASSES, Convolution
from nnlib.kernels.convolutions.plans import PLANS, Task, build, build_all
from nnlib.kernels.convolutions.tuner import NoPlan, least_seconds, tune
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.store import KernelStore
from sim.chip.processor import total_seconds
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec

SMALL = Convolution(batch=16, ni=16, no=24, ri=10, ci=9, kr=3, kc=3, padding=1)


def chip() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def task(library: Library = "autotuned-2019", **changes: int) -> Task:
    return Task(convolution=replace(SMALL, **changes), which="forward", dtype="fp64", library=library)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    k = draw(st.sampled_from([1, 3]))
    convolution = Convolution(
        batch=draw(st.integers(1, 20)),
        ni=draw(st.integers(1, 40)),
        no=draw(st.integers(1, 40)),
        ri=draw(st.integers(k, 9)),
        ci=draw(st.integers(k, 9)),
        kr=k,
        kc=k,
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, k // 2)),
    )
    return Task(
        convolution=convolution,
        which=draw(st.sampled_from(PASSES)),
        dtype=draw(st.sampled_from(["fp64", "fp32"])),
        library=draw(st.sampled_from(["naive", "swdnn-2017", "swcaffe-2018", "autotuned-2019"])),
        core_groups=draw(st.sampled_from([1, 4])),
    )


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(task=tasks())
def test_the_fastest_of_all_plans_is_taken_and_bounds_are_bounds(task: Task) -> None:
    processor = chip()
    clock = KernelClock(processor)
    found, _ = build_all(task, processor)
    seconds = {}
    for plan, launches in found.items():
        try:
            timings = tuple(clock.time(launch.kernel) for launch in launches)
        except (InfeasiblePlan, UnsuitablePlan):
            continue
        seconds[plan] = total_seconds(timings, processor)
        assert least_seconds(task, plan, launches, processor) <= seconds[plan]
    tuned = tune(task, clock=KernelClock(processor))
    assert tuned.seconds == min(seconds.values()) == seconds[tuned.plan]
    assert set(tuned.slower) == set(seconds) - {tuned.plan}


def test_what_cannot_be_done_has_a_reason() -> None:
    tuned = tune(task(stride=2), clock=KernelClock(chip()))
    assert {refusal.plan: refusal.reason for refusal in tuned.refusals} == {
        "winograd": "winograd: the stride is 2, not 1",
        "depthwise": "depthwise: 16 input and 24 output channels in 1 groups are not one of each in a group",
    }
    with pytest.raises(UnsuitablePlan, match="library naive has no such plan; it has direct, dma"):
        build("winograd", task("naive"), chip())


def test_channels_by_themselves_take_the_depthwise_kernels() -> None:
    for which in PASSES:
        tuned = tune(replace(task(ni=32, no=32, groups=32), which=which), clock=KernelClock(chip()))
        assert tuned.plan == "depthwise"


def test_no_plan_at_all_says_why_for_each() -> None:
    with pytest.raises(NoPlan, match=r"no plan of swdnn-2016 can do this forward: batch-size-aware: .* \d+ B of LDM"):
        tune(task("swdnn-2016", ni=2048, no=2048), clock=KernelClock(chip()))


def test_a_choice_on_disk_is_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KernelStore(tmp_path / "kernels.sqlite")
    first = tune(task(), clock=KernelClock(chip(), store=store))

    def refuse(*_: object) -> None:
        raise AssertionError("plans built, though the choice is stored")

    monkeypatch.setattr("nnlib.kernels.convolutions.tuner.build_all", refuse)
    assert tune(task(), clock=KernelClock(chip(), store=store)) == first
    with pytest.raises(AssertionError, match="though the choice is stored"):
        tune(task(), clock=KernelClock(chip()))


def test_every_generation_has_known_plans() -> None:
    assert {plan for each in GENERATIONS.values() for plan in each.convolutions} == set(PLANS)
