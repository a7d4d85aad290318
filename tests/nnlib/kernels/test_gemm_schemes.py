"""GEMM under every library's scheme: the numbers, the waits, the LDM, the edges, and what each mechanism costs."""

from __future__ import annotations

from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.products.gemm import Gemm, plan_gemm
from nnlib.kernels.products.gemm_plan import estimated_cycles, ranked_plans
from nnlib.kernels.products.gemm_scheme import SCHEMES, SWGEMM_CONVERTED, SWGEMM_DIRECT, UPDATE, GemmPlan, GemmScheme
from nnlib.kernels.simulation import simulate
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait

ALL = (*SCHEMES.values(), SWGEMM_CONVERTED, SWGEMM_DIRECT, UPDATE)
LATEST = ("autotuned-2019", "swgemm-converted", "update")
IDS = [*SCHEMES, "swgemm-converted", "swgemm-direct", "update"]


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


sizes = st.integers(1, 12)
gemms = st.builds(
    Gemm,
    m=st.integers(9, 150),  # one element alone may nearly cancel
    n=st.integers(9, 150),
    k=st.integers(1, 150),
    dtype=st.sampled_from(["fp64", "fp32"]),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    scheme=st.sampled_from(ALL),
    plan=st.none() | st.builds(GemmPlan, m=sizes, n=sizes, k=sizes),
    accumulate=st.booleans(),
)


@pytest.mark.numeric
@settings(max_examples=4, deadline=None)
@given(gemm=gemms)
def test_schemes_compute_the_product_in_the_time_of_the_plain_simulation(gemm: Gemm) -> None:
    check(gemm)


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=25, deadline=None)
@given(gemm=gemms)
def test_every_scheme_computes_the_product_in_the_time_of_the_plain_simulation(gemm: Gemm) -> None:
    check(gemm)


def check(gemm: Gemm) -> None:
    processor = load_machine("sunway_taihulight").processor
    timing = check_tiles(gemm, processor)
    assert simulate(gemm, processor=processor) == timing
    assert timing.flops == 2 * gemm.m * gemm.n * gemm.k


@pytest.mark.timing
@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param(each, id=id, marks=[] if id in LATEST else pytest.mark.slow)
        for id, each in zip(IDS, ALL, strict=True)
    ],
)
def test_every_wait_is_needed(scheme: GemmScheme, processor: ProcessorSpec) -> None:
    gemm = Gemm(130, 70, 90, "fp32", scheme=scheme, plan=GemmPlan(m=8, n=4, k=6), accumulate=True, transpose_b=True)
    check_every_wait(gemm, processor, more_than=20)


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("scheme", ALL, ids=IDS)
def test_the_planned_ldm_is_what_is_allocated(scheme: GemmScheme, transpose_b: bool, processor: ProcessorSpec) -> None:
    gemm = Gemm(512, 1024, 512, "fp32", scheme=scheme, transpose_b=transpose_b)
    plan = plan_gemm(gemm=gemm, processor=processor)
    assert simulate(gemm, processor=processor).ldm_high_water == gemm.problem(processor).ldm_bytes(plan)


def test_given_tile_sizes_are_used_or_refused(processor: ProcessorSpec) -> None:
    gemm = Gemm(256, 256, 256, "fp32", scheme=SWGEMM_DIRECT, plan=GemmPlan(m=4, n=16, k=8))
    assert plan_gemm(gemm=gemm, processor=processor) == gemm.plan
    with pytest.raises(InfeasiblePlan):
        plan_gemm(gemm=replace(gemm, plan=GemmPlan(m=128, n=128, k=128)), processor=processor)


@pytest.mark.parametrize("scheme", [SWGEMM_CONVERTED, SWGEMM_DIRECT])
def test_plans_keep_to_the_multiples_of_the_library(scheme: GemmScheme, processor: ProcessorSpec) -> None:
    gemm = Gemm(500, 1000, 200, "fp32", scheme=scheme)
    plans = ranked_plans(problem=gemm.problem(processor), processor=processor)
    assert len(plans) > 50
    assert all(plan.m % 4 == 0 and plan.n % 16 == 0 for plan in plans)
    assert all(gemm.problem(processor).ldm_bytes(plan) <= processor.cpe.ldm_bytes for plan in plans)


@pytest.mark.parametrize("scheme", [SWGEMM_CONVERTED, pytest.param(SWGEMM_DIRECT, marks=pytest.mark.slow)])
def test_the_estimate_ranks_as_the_simulation_does(scheme: GemmScheme, processor: ProcessorSpec) -> None:
    processor = replace(processor, dma=replace(processor.dma, request_seconds=0.0, block_seconds=0.0))
    gemm = Gemm(512, 512, 512, "fp32", transpose_a=True, scheme=scheme)
    plans = [GemmPlan(m=m, n=n, k=k) for m, n, k in ((4, 16, 4), (8, 16, 8), (16, 32, 16), (32, 64, 16))]
    estimates = [estimated_cycles(problem=gemm.problem(processor), plan=plan, processor=processor) for plan in plans]
    times = [simulate(replace(gemm, plan=plan), processor=processor).ticks / 1000 for plan in plans]
    assert sorted(estimates, reverse=True) == estimates
    assert sorted(times, reverse=True) == times
    assert np.allclose(estimates, times, rtol=0.15)


def test_an_edge_costs_what_it_holds(processor: ProcessorSpec) -> None:
    """One row of blocks, column of blocks or k-step beyond whole tiles costs far less than a whole tile."""
    plan = GemmPlan(m=16, n=64, k=16)
    whole = Gemm(128, 512, 256, "fp32", scheme=SWGEMM_CONVERTED, plan=plan)
    base = simulate(whole, processor=processor).ticks
    for beyond, tile in (
        (replace(whole, m=129), replace(whole, m=256)),
        (replace(whole, n=513), replace(whole, n=1024)),
        (replace(whole, k=257), replace(whole, k=384)),
    ):
        assert base < simulate(beyond, processor=processor).ticks
        added = simulate(beyond, processor=processor).ticks - base
        assert added < 0.75 * (simulate(tile, processor=processor).ticks - base)


def test_each_mechanism_costs_time(processor: ProcessorSpec) -> None:
    def ticks(**fields: str) -> int:
        scheme = replace(SWGEMM_CONVERTED, **fields)
        plan = GemmPlan(m=32, n=32, k=16)
        return simulate(Gemm(512, 512, 512, "fp32", scheme=scheme, plan=plan), processor=processor).ticks

    assert ticks(overlap="everything") < ticks() < ticks(overlap="nothing")
    assert ticks(fp32="operands") < ticks()
    assert ticks(schedule="autotuned-2019") < ticks(schedule="swdnn-2016") < ticks(schedule="compiler")
    reading = Gemm(512, 512, 512, "fp32", scheme=SWGEMM_DIRECT, accumulate=True)
    writing = replace(reading, accumulate=False)
    assert simulate(writing, processor=processor).ticks < simulate(reading, processor=processor).ticks


def test_libraries_become_faster_from_generation_to_generation(processor: ProcessorSpec) -> None:
    times = [
        simulate(Gemm(512, 512, 512, "fp64", library=library), processor=processor).ticks
        for library in ("naive", "swdnn-2016", "autotuned-2019")
    ]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 3


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("scheme", [SWGEMM_CONVERTED, SWGEMM_DIRECT])
def test_host_time_does_not_grow_with_the_trip_counts(scheme: GemmScheme, processor: ProcessorSpec) -> None:
    def cost(size: int) -> tuple[float, int]:
        gemm = Gemm(size, size, size, "fp32", transpose_a=True, scheme=scheme, plan=GemmPlan(m=32, n=32, k=16))
        begin = process_time()
        timing = simulate(gemm, processor=processor)
        return process_time() - begin, timing.ticks

    cost(2048)
    small, large = cost(2048), cost(8192)
    assert large[0] < 1.5 * small[0] + 0.1
    assert large[1] == pytest.approx(64 * small[1], rel=0.05)
