"""Runs under failures: equal to a SimPy process for the same failures, and to the formula on average."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, chain, repeat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.faults.plan import CheckpointPlan
from sim.faults.reference import Run, run_job, run_on_nodes
from sim.faults.simulation import Completions, Floats, random_gaps, simulate

PARTS = ("useful_seconds", "write_seconds", "lost_seconds", "restart_seconds")
FAR = 1e15


def given_gaps(gaps: list[float]) -> Iterator[Floats]:
    """The gaps of one run, then no more failures."""
    return (np.array([gap]) for gap in chain(gaps, repeat(FAR)))


def as_run(found: Completions) -> Run:
    """The only run."""
    return Run(
        **{name: float(getattr(found, name)[0]) for name in ("seconds", *PARTS)}, failures=int(found.failures[0])
    )


PLAN = CheckpointPlan(work_seconds=250.0, interval_seconds=100.0, write_seconds=10.0, restart_seconds=30.0)


@pytest.mark.parametrize(
    ("gaps", "seconds", "lost", "restarting", "failures"),
    [
        ([], 280, 0, 0, 0),
        ([105.0], 105 + 30 + 280, 105, 30, 1),  # in the first write: all of it is lost
        ([115.0], 115 + 30 + 170, 5, 30, 1),
        ([115.0, 12.0, 29.0], 115 + 12 + 29 + 30 + 170, 5, 12 + 29 + 30, 3),  # twice more during restarts
        ([279.0], 279 + 30 + 60, 59, 30, 1),  # in the last write
    ],
)
def test_runs_in_numbers(gaps: list[float], seconds: float, lost: float, restarting: float, failures: int) -> None:
    found = as_run(simulate(PLAN, given_gaps(gaps), runs=1))
    assert found == Run(
        seconds=seconds,
        useful_seconds=250,
        write_seconds=30,
        lost_seconds=lost,
        restart_seconds=restarting,
        failures=failures,
    )


@pytest.mark.timing
@settings(max_examples=60)
@given(
    work=st.integers(1, 400),
    interval=st.integers(1, 100),
    write=st.integers(0, 20),
    restart=st.integers(0, 50),
    gaps=st.lists(st.integers(0, 300), max_size=30),
)
def test_equal_to_a_process_that_failures_interrupt(
    work: int, interval: int, write: int, restart: int, gaps: list[int]
) -> None:
    """Exactly: durations are even, times between failures odd, so that no failure falls on the end of anything."""
    plan = CheckpointPlan(
        work_seconds=2 * work, interval_seconds=2 * interval, write_seconds=2 * write, restart_seconds=2 * restart
    )
    odd = [2.0 * gap + 1.0 for gap in gaps]
    found = as_run(simulate(plan, given_gaps(odd), runs=1))
    assert found == run_job(plan, list(accumulate(odd)))


def test_the_parts_tile_the_time() -> None:
    found = simulate(PLAN, random_gaps(mtbf_seconds=150.0, runs=500, seed=1), runs=500)
    np.testing.assert_allclose(sum(getattr(found, name) for name in PARTS), found.seconds, rtol=1e-12)
    assert found.failures.max() > 5
    assert found.failures.min() == 0


def test_the_same_seed_gives_the_same_runs_and_each_is_its_own() -> None:
    one, again = (simulate(PLAN, random_gaps(mtbf_seconds=150.0, runs=9, seed=3), runs=9) for _ in range(2))
    other = simulate(PLAN, random_gaps(mtbf_seconds=150.0, runs=9, seed=4), runs=9)
    np.testing.assert_array_equal(one.seconds, again.seconds)
    assert (one.seconds != other.seconds).any()
    assert len(np.unique(one.seconds)) > 3


@pytest.mark.parametrize(
    ("mtbf", "interval"), [(100.0, 100.0), (300.0, 100.0), (300.0, 37.0), (2000.0, 400.0), (60.0, 20.0)]
)
def test_the_mean_is_what_the_formula_says(mtbf: float, interval: float) -> None:
    """Within four standard errors of 40,000 runs, which are about one percent."""
    plan = CheckpointPlan(work_seconds=1000.0, interval_seconds=interval, write_seconds=8.0, restart_seconds=25.0)
    found = simulate(plan, random_gaps(mtbf_seconds=mtbf, runs=40_000, seed=5), runs=40_000).seconds
    error = found.std() / 40_000**0.5
    assert error < 0.01 * found.mean()
    assert abs(found.mean() - plan.expected_seconds(mtbf)) < 4 * error


def test_a_process_for_each_node_gives_the_same_mean() -> None:
    """64 nodes that fail each by itself every 6,400 s are a job that is hit every 100 s."""
    runs = [run_on_nodes(PLAN, parts=64, part_mtbf_seconds=6400.0, seed=seed) for seed in range(120)]
    seconds = np.array([run.seconds for run in runs])
    assert abs(seconds.mean() - PLAN.expected_seconds(100.0)) < 4 * seconds.std() / 120**0.5
