"""Unequal ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.machine.network_spec import NoiseSpec
from workloads.jobs.noise import late_seconds

QUIET = NoiseSpec(
    compute_jitter=0.0,
    system_period_seconds=1.0,
    system_duration_seconds=0.0,
    system_distribution="fixed",
    slow_nodes=0,
    slow_node_factor=1.5,
    slow_links=0,
    slow_link_factor=1.0,
)


def late(noise: NoiseSpec, *, seconds: float = 2.0, nodes: int = 1000, ranks: int = 1, seed: int = 0) -> np.ndarray:
    return late_seconds(noise, seconds=seconds, nodes=nodes, ranks_per_node=ranks, seed=seed)


def test_equal_ranks_are_never_late() -> None:
    assert not late(QUIET).any()


def test_slow_nodes_are_slow_with_all_their_ranks() -> None:
    found = late(replace(QUIET, slow_nodes=3), nodes=30, ranks=4)
    assert sorted(set(found)) == [0.0, 1.0]
    assert np.flatnonzero(found).tolist() == [0, 1, 2, 3, 40, 41, 42, 43, 80, 81, 82, 83]


def test_jitter_is_half_a_bell() -> None:
    found = late(replace(QUIET, compute_jitter=0.01), nodes=40_000)
    assert np.mean(found > 0) == pytest.approx(0.5, abs=0.01)
    # the mean of the positive half of a normal distribution of deviation 0.02 s
    assert found.mean() == pytest.approx(0.02 / np.sqrt(2 * np.pi), rel=0.03)


@pytest.mark.parametrize("distribution", ["fixed", "exponential"])
def test_the_system_takes_its_share(distribution: str) -> None:
    noise = replace(QUIET, system_period_seconds=0.5, system_duration_seconds=0.01, system_distribution=distribution)
    found = late(noise, nodes=40_000)
    assert found.mean() == pytest.approx(4 * 0.01, rel=0.02)
    whole = np.abs(found / 0.01 - np.round(found / 0.01)).max() < 1e-9
    assert whole == (distribution == "fixed")


def test_the_seed_decides() -> None:
    noise = replace(QUIET, compute_jitter=0.01)
    assert (late(noise, seed=1) == late(noise, seed=1)).all()
    assert (late(noise, seed=1) != late(noise, seed=2)).any()


def test_a_rank_is_as_late_whoever_else_there_is() -> None:
    noise = replace(QUIET, compute_jitter=0.01, system_duration_seconds=0.01, system_distribution="exponential")
    np.testing.assert_array_equal(late(noise, nodes=1000)[:100], late(noise, nodes=100))


def test_many_times_of_the_system_have_the_spread_of_their_sum() -> None:
    """Above a hundred the sum of exponential times is drawn as a normal number."""
    noise = replace(QUIET, system_period_seconds=0.01, system_duration_seconds=1e-3, system_distribution="exponential")
    few, many = (late(noise, seconds=seconds, nodes=20_000) for seconds in (0.99, 4.0))
    assert few.mean() == pytest.approx(99e-3, rel=0.01)
    assert few.std() == pytest.approx(1e-3 * np.sqrt(99), rel=0.03)
    assert many.mean() == pytest.approx(400e-3, rel=0.01)
    assert many.std() == pytest.approx(1e-3 * np.sqrt(400), rel=0.03)
