"""A ring turned many times at once, against turn by turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.network.collectives import collective
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.schedule import STEP_BY_STEP_RANKS, Schedule
from sim.network.topology import Topology
from sim.network.turns import TurnCost, after_turns
from tests.sim.network.networks import SIMPLE, SMALL, small, taihulight

pytestmark = pytest.mark.timing

ADDING = ReductionCost(seconds_per_byte=0.286e-9, start_seconds=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    ranks=st.integers(2, 40),
    turns=st.integers(0, 60),
    levels=st.integers(1, 4),
    skew=st.sampled_from([0.0, 1.0, 30.0]),
    adds=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_turn_by_turn(ranks: int, turns: int, levels: int, skew: float, adds: bool, seed: int) -> None:
    turns += ranks - 1
    random = np.random.default_rng(seed)
    clocks = random.uniform(0, skew, ranks)
    message = random.choice(np.array([1.0, 1.25, 2.0, 2.5])[:levels], ranks)
    adding = np.full(ranks, 0.5 if adds else 0.0)
    expected = clocks.copy()
    for _ in range(turns):
        end = np.maximum(expected, np.roll(expected, -1)) + message
        expected = np.maximum(end, np.roll(end, 1)) + np.roll(adding, 1)
    found = after_turns(clocks, TurnCost(message_seconds=message, adding_seconds=adding), turns=turns)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def shortened(schedule: Schedule) -> Schedule:
    assert schedule.shortened is not None
    return replace(schedule, steps=schedule.shortened)


@settings(max_examples=15, deadline=None)
@given(
    which=st.sampled_from(
        [("allreduce", "ring"), ("broadcast", "scatter_ring"), ("reduce_scatter", "ring"), ("allgather", "ring")]
    ),
    network=st.sampled_from(sorted(SMALL)),
    nodes=st.integers(2, 64),
    ranks_per_node=st.sampled_from([1, 4]),
    part=st.sampled_from([1, 40, 3000]),
    skew=st.sampled_from([0.0, 1e-4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_collectives_with_rings(
    which: tuple[str, str], network: str, nodes: int, ranks_per_node: int, part: int, skew: float, seed: int
) -> None:
    """Equal parts, equal and unequal clocks: as step by step, to rounding."""
    topology = Topology(small(network), nodes if ranks_per_node == 1 else min(nodes, 20), ranks_per_node)
    schedule = collective(*which, topology=topology, elements=part * topology.ranks)
    start = np.random.default_rng(seed).uniform(0, skew, topology.ranks)
    steps, turns = (
        run(each, topology=topology, protocol=SIMPLE, reduction=ADDING, start=start, item_bytes=4)
        for each in (schedule, shortened(schedule))
    )
    np.testing.assert_allclose(turns.finish, steps.finish, rtol=1e-11)
    assert (turns.steps, turns.messages, turns.bytes) == (steps.steps, steps.messages, steps.bytes)
    for part_of in ("latency_seconds", "transfer_seconds", "reduce_seconds"):
        assert getattr(turns, part_of) == pytest.approx(getattr(steps, part_of), rel=1e-9)
    if skew == 0 and turns.contention == "exact":
        assert steps.contention == "exact"


def test_uneven_parts_count_as_the_longest() -> None:
    """At most the time of one element in every step."""
    topology = Topology(taihulight(), nodes=300)
    schedule = collective("allreduce", "ring", topology=topology, elements=1_000_001)
    start = np.zeros(300)
    steps, turns = (
        run(each, topology=topology, protocol=SIMPLE, reduction=ADDING, start=start, item_bytes=4)
        for each in (schedule, shortened(schedule))
    )
    late = turns.finish - steps.finish
    assert (late >= 0).all()
    assert late.max() <= steps.steps * 4 * (1 / 5.28e9 + 0.286e-9)


@pytest.mark.parametrize("ranks", [STEP_BY_STEP_RANKS + 1, 40960])
def test_rings_of_many_ranks_by_hand(ranks: int) -> None:
    """Every rank is held up by the slowest message, which leaves its supernode, in every step but the last few."""
    topology = Topology(taihulight(), nodes=ranks)
    found = run(
        collective("allreduce", "ring", topology=topology, elements=2000 * ranks),
        topology=topology,
        protocol=SIMPLE,
        reduction=ADDING,
        start=np.zeros(ranks),
        item_bytes=4,
    )
    message, adding = 33e-6 + 8000 / 5.28e9, 1e-6 + 8000 * 0.286e-9
    turns = ranks - 1
    most = 2 * turns * (message + 1e-6) + turns * adding
    # from the end of a supernode to its middle the last steps are 1 us shorter, each
    assert found.finish.max() == pytest.approx(most, rel=1e-12)
    assert found.finish.min() >= most - 130e-6
    assert found.steps == 2 * turns
    assert found.messages == 2 * turns * ranks
