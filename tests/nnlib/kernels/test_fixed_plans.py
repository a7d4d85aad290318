"""Kernels that keep the plan they have on one chip, timed on another: what a chip's parameter does by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.products.gemm import Gemm, plan_gemm
from nnlib.kernels.simulation import simulate
from nnlib.kernels.store import KernelStore
from sim.chip.errors import UnalignedAccess
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.launches import FAMILIES, Case, cases

pytestmark = pytest.mark.timing


def slower(processor: ProcessorSpec) -> ProcessorSpec:
    """With longer latencies of the pipelines."""
    pipeline = replace(
        processor.cpe.pipeline, floating=31, vector_load=17, load=13, loop_overhead=23, shuffle=3, divide=99
    )
    return replace(processor, cpe=replace(processor.cpe, pipeline=pipeline))


def moved(timing: Any) -> tuple[int, ...]:
    """What tells plans apart."""
    return timing.get_bytes, timing.put_bytes, timing.dma_requests, timing.dma_lines, timing.ldm_high_water


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_all_that_a_kernel_computes_costs_by_the_timed_chip(family: str) -> None:
    @settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
    @given(case=cases(family))
    def same(case: Case) -> None:
        chip = slower(case.processor)
        try:
            fixed = simulate(case.kernel, processor=chip, planned=case.processor, memory=case.memory)
            anew = simulate(case.kernel, processor=chip, memory=case.memory)
        except (InfeasiblePlan, UnsuitablePlan, UnalignedAccess):
            assume(False)
        assume(moved(fixed) == moved(anew))
        assert fixed == anew

    same()


def test_a_plan_by_hand_takes_the_same_on_a_changed_chip() -> None:
    """Planned for less scratchpad than there is, and memory twice as slow."""
    chip = load_machine("sunway_taihulight").processor
    small = replace(chip, cpe=replace(chip.cpe, ldm_bytes=chip.cpe.ldm_bytes // 4))
    slow = replace(chip, dma=replace(chip.dma, line_seconds=2 * chip.dma.line_seconds))
    gemm = Gemm(m=1024, n=512, k=768, dtype="fp64")
    assert plan_gemm(gemm=gemm, processor=slow) != plan_gemm(gemm=gemm, processor=small)
    by_hand = replace(gemm, plan=plan_gemm(gemm=gemm, processor=small))
    assert simulate(gemm, processor=slow, planned=small) == simulate(by_hand, processor=slow)
    assert simulate(gemm, processor=chip, planned=chip) == simulate(gemm, processor=chip)


def test_times_at_fixed_plans_are_stored_apart(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = load_machine("sunway_taihulight").processor
    slow = replace(chip, dma=replace(chip.dma, line_seconds=2 * chip.dma.line_seconds))
    kernel: Kernel = Elementwise("relu", 100_000, "fp64")
    store = KernelStore(tmp_path / "kernels.sqlite")
    base = KernelClock(chip, store=store)
    own, fixed = KernelClock(slow, store=store).time(kernel), KernelClock(slow, store=store, base=base).time(kernel)
    assert own == fixed != base.time(kernel)  # a relu has one plan
    assert store.entries() == 4  # three times, and what one of them depends on
    monkeypatch.setattr("nnlib.kernels.simulation.simulate", None)
    assert KernelClock(slow, store=store, base=KernelClock(chip, store=store)).time(kernel) == fixed
