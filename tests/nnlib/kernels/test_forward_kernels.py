"""Loops cut short cost to the tick what whole ones do, for every kernel; and they cost no more where there are more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings, target

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.convolutions.plans import Task, build
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.kernels.products.gemm import Gemm, plan_gemm
from nnlib.kernels.simulation import simulate
from nnlib.precision import DTypeName
from sim.chip.counters import KernelTiming
from sim.chip.errors import UnalignedAccess
from sim.chip.memory import MemoryUse
from sim.machine.load import load_machine
from tests.nnlib.kernels.launches import FAMILIES, Case, cases

pytestmark = pytest.mark.timing

MANY: Final = {"images": 40, "streaming": 40, "transposes": 40}
"""Cases of a family in the long test, where it is not 16: of these few are long enough to repeat."""
LEAST_CUT: Final = {"streaming": 0.02, "images": 0.1, "autotuned-2019": 0.1}
"""Shares of cases in which iterations must be left out, where it is not 25 %: untied CPEs seldom repeat early on."""


def skipped(timing: KernelTiming) -> int:
    """Iterations that were not simulated."""
    return sum(loop.iterations - loop.simulated for loop in timing.loops)


def check(case: Case) -> int:
    """Both ways give the same; how many iterations were left out.

    Shapes that no tile fits are left out, and places in memory that vectors cannot begin at.
    """
    arguments = {"processor": case.processor, "memory": case.memory}
    try:
        cut = simulate(case.kernel, **arguments)
    except (InfeasiblePlan, UnsuitablePlan, UnalignedAccess):
        assume(False)
    plain = simulate(case.kernel, **arguments, plainly=True)
    assert skipped(plain) == 0
    assert cut == plain
    return skipped(cut)


@pytest.mark.parametrize("family", FAMILIES)
def test_cut_loops_take_the_time_of_whole_ones(family: str) -> None:
    @settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
    @given(case=cases(family))
    def same(case: Case) -> None:
        target(float(check(case)))

    same()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_cut_loops_take_the_time_of_whole_ones_in_many_more_shapes(family: str) -> None:
    """The same cases each time, so that the share of those that were cut at all can be relied on."""
    cut: list[bool] = []

    @settings(
        max_examples=MANY.get(family, 16),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much],
    )
    @given(case=cases(family))
    def same(case: Case) -> None:
        cut.append(check(case) > 0)

    same()
    assert len(cut) >= MANY.get(family, 16)
    assert sum(cut) / len(cut) >= LEAST_CUT.get(family, 0.25)


Make = Callable[[int], Kernel]
"""A kernel with so many times the rows."""


def tall(plan: str, which: Pass, library: Library, dtype: DTypeName) -> Make:
    def make(times: int) -> Kernel:
        convolution = Convolution(batch=32, ni=32, no=32, ri=160 * times, ci=4, kr=3, kc=3, padding=1)
        task = Task(convolution=convolution, which=which, dtype=dtype, library=library)
        (launch,) = build(plan, task, load_machine("sunway_taihulight").processor)
        return launch.kernel

    return make


def same_tiles(*, m: int, n: int, k: int, dtype: DTypeName = "fp64", library: Library = DEFAULT_LIBRARY) -> Make:
    """A matrix product longer along its longest axis, with the tiles of the short one."""
    short = Gemm(m=m, n=n, k=k, dtype=dtype, library=library)
    plan = plan_gemm(gemm=short, processor=load_machine("sunway_taihulight").processor)

    def make(times: int) -> Kernel:
        longest = max(m, n, k)
        axes = {
            name: length * times if length == longest else length for name, length in (("m", m), ("n", n), ("k", k))
        }
        return replace(short, **axes, plan=plan)

    return make


LIBRARIES: Final[tuple[Library, ...]] = ("swdnn-2017", "swcaffe-2018", "autotuned-2019")
LONG: Final[dict[str, Make]] = {
    "deep gemm": same_tiles(m=512, n=512, k=8192),
    "deep fp32 gemm of 2018": same_tiles(m=512, n=512, k=8192, dtype="fp32", library="swcaffe-2018"),
    "tall gemm": same_tiles(m=8192, n=512, k=256),
    "wide gemm": same_tiles(m=512, n=8192, k=256),
    **{
        f"{plan} {which} {library}": tall(plan, which, library, "fp64" if library == "swdnn-2017" else "fp32")
        for plan in ("batch-size-aware", "image-size-aware")
        for which in PASSES
        for library in LIBRARIES
    },
}


def slow_but_of(library: str) -> list[object]:
    """``LONG``; convolutions of other libraries, and gradients, are left out of the fast loop."""
    slow = {name for name in LONG if "gemm" not in name and f"forward {library}" not in name}
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in LONG]


@pytest.mark.parametrize("memory", [MemoryUse(), MemoryUse(mode="shared", active=4, base_offset=16)], ids=["own", "4"])
@pytest.mark.parametrize("name", slow_but_of("autotuned-2019"))
def test_ten_times_the_rows_are_no_more_to_simulate(name: str, memory: MemoryUse) -> None:
    """Iterations that were simulated, in all loops, beyond the first that differ: host time goes with them."""
    processor = load_machine("sunway_taihulight").processor
    few, many = (simulate(LONG[name](times), processor=processor, memory=memory) for times in (1, 10))
    simulated = [sum(loop.simulated for loop in timing.loops) for timing in (few, many)]
    assert many.ticks > 8 * few.ticks
    assert simulated[1] <= 1.2 * simulated[0], [loop.words for loop in many.loops]
