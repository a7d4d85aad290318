"""When a step may say that its sharing is exact."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.network.collectives import collective
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology
from tests.sim.network.networks import SIMPLE, taihulight

pytestmark = pytest.mark.timing


def contention(schedule: Schedule, topology: Topology, start: NDArray[np.float64] | None = None) -> str:
    return run(
        schedule,
        topology=topology,
        protocol=SIMPLE,
        reduction=ReductionCost(seconds_per_byte=0.286e-9),
        start=np.zeros(topology.ranks) if start is None else start,
        item_bytes=4,
    ).contention


def one_step(source: list[int], destination: list[int], elements: list[int], *, ranks: int) -> Schedule:
    ends = np.array(elements)
    step = Step(np.array(source), np.array(destination), 0 * ends, ends, False, "step")
    return Schedule(name="step", ranks=ranks, elements=max(elements), steps=lambda: iter([step]))


def test_pairs_exchange_exactly_whenever_they_begin() -> None:
    """Both messages of a pair begin when the later rank is ready; no other pair is on their links."""
    topology = Topology(taihulight(), nodes=256)
    start = np.random.default_rng(0).uniform(0, 1e-3, 256)
    schedule = collective("allreduce", "recursive_doubling", topology=topology, elements=10_000)
    assert contention(schedule, topology, start) == "exact"


def test_messages_that_begin_apart_on_one_link_are_not() -> None:
    topology = Topology(taihulight(), nodes=2, ranks_per_node=2)
    schedule = one_step([0, 1], [2, 3], [1000, 1000], ranks=4)
    assert contention(schedule, topology) == "exact"
    assert contention(schedule, topology, np.array([0.0, 1e-6, 0.0, 0.0])) == "approximated"


def test_messages_that_end_apart_on_one_link_are_not() -> None:
    topology = Topology(taihulight(), nodes=2, ranks_per_node=2)
    assert contention(one_step([0, 1], [2, 3], [1000, 1000], ranks=4), topology) == "exact"
    assert contention(one_step([0, 1], [2, 3], [1000, 1001], ranks=4), topology) == "approximated"


def test_a_message_of_an_earlier_step_on_the_same_link_counts() -> None:
    """Ranks 1 and 3 begin the second step while 0 and 2 are still in the first, over the same nodes' links."""
    topology = Topology(taihulight(), nodes=2, ranks_per_node=2)
    ends = np.array([1000])
    first = Step(np.array([0]), np.array([2]), 0 * ends, ends, False, "first")
    second = Step(np.array([1]), np.array([3]), 0 * ends, ends, False, "second")
    schedule = Schedule(name="two", ranks=4, elements=1000, steps=lambda: iter([first, second]))
    assert contention(schedule, topology) == "approximated"
    # not where they begin when the first is over, or use other links
    assert contention(schedule, topology, np.array([0.0, 1.0, 0.0, 0.0])) == "exact"
    assert contention(schedule, Topology(taihulight(), nodes=4)) == "exact"


@pytest.mark.parametrize("nodes", [4096, 40960])
def test_the_whole_machine_from_one_start(nodes: int) -> None:
    topology = Topology(taihulight(), nodes, 4)
    schedule = collective("allreduce", "hierarchical", topology=topology, elements=10_240)
    assert contention(schedule, topology) == "exact"
    start = np.random.default_rng(0).uniform(0, 1e-3, topology.ranks)
    assert contention(schedule, topology, start) == "approximated"
    alone = Topology(taihulight(), nodes, 4, contention=False)
    assert contention(schedule, alone, start) == "none"
