"""Routes that are kept for when they come again."""

from __future__ import annotations

import numpy as np
import pytest

from sim.network.collectives import collective
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.routes import RouteMemory, Routes
from sim.network.topology import Topology
from tests.sim.network.networks import SIMPLE, taihulight

pytestmark = pytest.mark.timing


def routes(messages: int) -> Routes:
    """Of 8 + 8 + 1 bytes a message."""
    return Routes(rate=np.ones(messages), hop_seconds=np.ones(messages), inside_node=np.zeros(messages, dtype=bool))


def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    memory = RouteMemory(most_bytes=2 * 17 * 100)
    made: list[str] = []

    def make(name: str) -> Routes:
        return memory.get(name, lambda: made.append(name) or routes(100))  # type: ignore[func-returns-value]

    first = make("a")
    make("b")
    assert make("a") is first
    make("c")
    assert make("a") is first
    make("b")
    assert made == ["a", "b", "c", "b"]


def test_equal_numbers_take_no_memory() -> None:
    constant = np.broadcast_to(np.float64(1.0), 1000)
    assert Routes(rate=constant, hop_seconds=constant, inside_node=np.zeros(1000, dtype=bool)).nbytes == 1000


@pytest.mark.parametrize("algorithm", ["halving_doubling", "halving_doubling_far", "binomial_tree", "hierarchical"])
def test_known_routes_change_no_bit(algorithm: str) -> None:
    """One topology after collectives of other algorithms and sizes, and one that is new."""
    old = Topology(taihulight(), nodes=300, ranks_per_node=4)

    def finish(topology: Topology, elements: int) -> np.ndarray:
        return run(
            collective("allreduce", algorithm, topology=topology, elements=elements),
            topology=topology,
            protocol=SIMPLE,
            reduction=ReductionCost(seconds_per_byte=0.286e-9),
            start=np.random.default_rng(0).uniform(0, 1e-3, topology.ranks),
            item_bytes=4,
        ).finish

    for elements in (70_000, 3, 10_000_000):
        np.testing.assert_array_equal(finish(old, elements), finish(Topology(taihulight(), 300, 4), elements))
