"""Expected time to completion and best interval against closed forms and against a search."""

from __future__ import annotations

from math import exp, expm1, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.faults.plan import CheckpointPlan, daly_interval, young_interval


def plan(**changes: float) -> CheckpointPlan:
    values = {"work_seconds": 1000.0, "interval_seconds": 100.0, "write_seconds": 10.0, "restart_seconds": 30.0}
    return CheckpointPlan(**{**values, **changes})


def test_without_failures_the_segments_and_their_writes_remain() -> None:
    assert plan().faultless_seconds == 1000 + 10 * 10
    assert plan(work_seconds=1050.0).faultless_seconds == 1050 + 11 * 10
    assert plan(interval_seconds=5000.0).faultless_seconds == 1010
    assert plan().expected_seconds(1e12) == pytest.approx(1100, rel=1e-6)


def test_one_segment_takes_what_the_textbook_says() -> None:
    """E = M e^(R/M) (e^(w/M) - 1): the mean of a renewal process that needs w seconds in one go."""
    alone = plan(work_seconds=100.0)
    assert alone.expected_seconds(200.0) == pytest.approx(200 * exp(30 / 200) * expm1(110 / 200), rel=1e-12)


def test_a_tail_counts_as_the_shorter_segment_it_is() -> None:
    whole, tail = plan(work_seconds=300.0), plan(work_seconds=50.0)
    assert plan(work_seconds=350.0).expected_seconds(500.0) == pytest.approx(
        whole.expected_seconds(500.0) + tail.expected_seconds(500.0), rel=1e-12
    )


def test_hopeless_jobs_take_for_ever() -> None:
    assert plan().expected_seconds(0.1) == inf


@pytest.mark.parametrize("mtbf", [50.0, 500.0, 20_000.0])
def test_dalys_interval_is_as_good_as_the_best_one_found(mtbf: float) -> None:
    """Within half a percent of the time of the best of a fine grid; Young's is only good where writes are short."""
    job = plan(work_seconds=1e7)
    found = job.with_interval(daly_interval(write_seconds=10.0, mtbf_seconds=mtbf)).expected_seconds(mtbf)
    grid = [job.with_interval(mtbf * 1.02**step).expected_seconds(mtbf) for step in range(-300, 60)]
    assert found <= 1.005 * min(grid)


def test_dalys_interval_in_numbers() -> None:
    """δ = 10 s, M = 2,000 s: 200 s to first order; 200 (1 + 0.05/3 + 0.0025/9) - 10 to higher order."""
    assert young_interval(write_seconds=10.0, mtbf_seconds=2000.0) == 200.0
    assert daly_interval(write_seconds=10.0, mtbf_seconds=2000.0) == pytest.approx(193.388889, rel=1e-8)
    assert daly_interval(write_seconds=100.0, mtbf_seconds=40.0) == 40.0


@given(
    mtbf=st.floats(10.0, 1e6),
    work=st.floats(1.0, 1e6),
    interval=st.floats(10.0, 1e4),
    write=st.floats(0.0, 100.0),
    restart=st.floats(0.0, 1000.0),
)
def test_failures_never_make_a_job_faster(
    mtbf: float, work: float, interval: float, write: float, restart: float
) -> None:
    job = CheckpointPlan(work_seconds=work, interval_seconds=interval, write_seconds=write, restart_seconds=restart)
    assert job.expected_seconds(mtbf) >= job.faultless_seconds * (1 - 1e-12)
    assert job.expected_seconds(mtbf) >= job.expected_seconds(2 * mtbf) * (1 - 1e-12)


@pytest.mark.parametrize("wrong", [{"work_seconds": 0.0}, {"interval_seconds": -1.0}, {"write_seconds": -1.0}])
def test_impossible_times_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"negative|above zero"):
        plan(**wrong)
