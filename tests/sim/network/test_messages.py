"""Arrays of clocks and one process per rank agree to the bit, in times and in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.network.allreduce import ALGORITHMS
from sim.network.collectives import collective
from sim.network.messages import MOST_NODES, MOST_RANKS_PER_NODE, simulate
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step, execute
from sim.network.topology import Topology
from tests.sim.network.networks import SIMPLE, SMALL, random_schedule, small, taihulight

pytestmark = pytest.mark.timing

RANDOM = "random steps"


@dataclass(frozen=True)
class Case:
    """Something to run; ``longest_skew`` in seconds."""

    algorithm: str
    network: str
    nodes: int
    ranks_per_node: int
    elements: int
    item_bytes: int
    longest_skew: float
    protocol: Protocol
    reduction: ReductionCost
    seed: int

    def topology(self) -> Topology:
        # a ring's messages grow with the square of its ranks
        nodes = min(self.nodes, MOST_NODES // self.ranks_per_node) if self.algorithm == "ring" else self.nodes
        return Topology(small(self.network), nodes, self.ranks_per_node, contention=False)

    def schedule(self) -> Schedule:
        if self.algorithm == RANDOM:
            return random_schedule(ranks=self.topology().ranks, elements=self.elements, steps=8, seed=self.seed)
        return collective("allreduce", self.algorithm, topology=self.topology(), elements=self.elements)

    def start(self) -> NDArray[np.float64]:
        return np.random.default_rng(self.seed).uniform(0, self.longest_skew, self.topology().ranks)

    def values(self) -> NDArray[np.float64]:
        shape = (self.topology().ranks, self.elements)
        return np.random.default_rng(self.seed + 1).standard_normal(shape)


MPI = Protocol.of(taihulight())
NOTHING = ReductionCost(seconds_per_byte=0.0)
COPYING = Protocol(
    eager_limit_bytes=300,
    eager_latency_seconds=3e-6,
    rendezvous_latency_seconds=2e-5,
    copy_seconds_per_byte=1.1e-9,
    message_seconds=7e-6,
)
cases = st.builds(
    Case,
    algorithm=st.sampled_from([*sorted(ALGORITHMS), *[RANDOM] * 4]),
    network=st.sampled_from(sorted(SMALL)),
    nodes=st.integers(1, MOST_NODES),
    ranks_per_node=st.sampled_from([1, 4]),
    elements=st.integers(0, 2000),
    item_bytes=st.sampled_from([2, 4, 8, 5000]),
    longest_skew=st.sampled_from([0.0, 1e-5, 1e-3, 1.0]),
    protocol=st.sampled_from([MPI, COPYING]),
    reduction=st.sampled_from(
        [
            ReductionCost.of(taihulight()),
            ReductionCost(seconds_per_byte=3.36e-9, start_seconds=2e-6),
            ReductionCost(seconds_per_byte=3.36e-9, start_seconds=2e-6, overlapped=True),
        ]
    ),
    seed=st.integers(0, 2**32 - 2),
)


def assert_same_bits(found: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))


def assert_same(case: Case) -> None:
    topology, schedule = case.topology(), case.schedule()
    expected = run(
        schedule,
        topology=topology,
        protocol=case.protocol,
        reduction=case.reduction,
        start=case.start(),
        item_bytes=case.item_bytes,
    )
    found = simulate(
        schedule,
        topology=topology,
        protocol=case.protocol,
        reduction=case.reduction,
        start=case.start(),
        item_bytes=case.item_bytes,
        values=case.values(),
    )
    assert_same_bits(found.finish, expected.finish)
    assert (found.messages, found.bytes) == (expected.messages, expected.bytes)
    assert found.values is not None
    assert_same_bits(found.values, execute(schedule, case.values()))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(case=cases)
def test_same_times_and_numbers(case: Case) -> None:
    assert_same(case)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(case=cases)
def test_same_times_and_numbers_of_many(case: Case) -> None:
    assert_same(case)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize(("nodes", "ranks_per_node"), [(32, 1), (29, 1), (9, 4), (1, 4), (1, 1)])
def test_every_algorithm(algorithm: str, nodes: int, ranks_per_node: int) -> None:
    assert_same(
        Case(
            algorithm=algorithm,
            network="tree of 16",
            nodes=nodes,
            ranks_per_node=ranks_per_node,
            elements=700,
            item_bytes=4,
            longest_skew=1e-4,
            protocol=MPI,
            reduction=ReductionCost.of(taihulight()),
            seed=nodes,
        )
    )


def test_one_message_by_hand() -> None:
    """Rank 2 comes last: 8,000 B after 33 us at 5.95 GB/s, then rank 0 adds them; rank 1 is not concerned."""
    topology = Topology(taihulight(), nodes=3, contention=False)
    step = Step(np.array([2]), np.array([0]), np.array([0]), np.array([1000]), True, "one")
    schedule = Schedule(name="one message", ranks=3, elements=1000, steps=lambda: iter([step]))
    found = simulate(
        schedule,
        topology=topology,
        protocol=SIMPLE,
        reduction=ReductionCost(seconds_per_byte=0.286e-9),
        start=np.array([1e-3, 5.0, 2e-3]),
        item_bytes=8,
    )
    sent = 2e-3 + (33e-6 + 8000 / 5.95e9)
    np.testing.assert_array_equal(found.finish, [sent + 0.286e-9 * 8000, 5.0, sent])


def test_sender_and_receiver_waits_for_both() -> None:
    """In 0 -> 1 -> 2 of one step rank 1 goes on only when late rank 2 has its message."""
    topology = Topology(taihulight(), nodes=3, contention=False)
    step = Step(np.array([0, 1]), np.array([1, 2]), np.array([0, 0]), np.array([10, 10]), False, "chain")
    schedule = Schedule(name="chain", ranks=3, elements=10, steps=lambda: iter([step]))
    values = np.arange(30).reshape(3, 10)
    found = simulate(
        schedule,
        topology=topology,
        protocol=SIMPLE,
        reduction=ReductionCost(seconds_per_byte=1.0),
        start=np.array([0.0, 0.0, 1.0]),
        item_bytes=4,
        values=values,
    )
    alone = 4.3e-6 + 40 / 5.95e9
    np.testing.assert_array_equal(found.finish, [alone, 1.0 + alone, 1.0 + alone])
    # rank 2 gets what rank 1 held when the step began, although rank 0's came before
    np.testing.assert_array_equal(found.values, values[[0, 0, 1]])


@pytest.mark.parametrize(
    ("nodes", "ranks_per_node"), [(MOST_NODES + 1, 1), (1, MOST_RANKS_PER_NODE + 1)], ids=["nodes", "ranks"]
)
def test_more_is_refused(nodes: int, ranks_per_node: int) -> None:
    topology = Topology(taihulight(), nodes, ranks_per_node, contention=False)
    schedule = collective("allreduce", "ring", topology=topology, elements=1)
    with pytest.raises(ValueError, match="at most 64 nodes of 4 ranks"):
        simulate(
            schedule,
            topology=topology,
            protocol=MPI,
            reduction=NOTHING,
            start=np.zeros(topology.ranks),
            item_bytes=4,
        )


def test_contention_is_refused() -> None:
    topology = Topology(taihulight(), nodes=2)
    schedule = collective("allreduce", "ring", topology=topology, elements=1)
    with pytest.raises(ValueError, match="without contention"):
        simulate(schedule, topology=topology, protocol=MPI, reduction=NOTHING, start=np.zeros(2), item_bytes=4)


@pytest.mark.parametrize(("starts", "shape"), [(3, (2, 5)), (2, (2, 4))])
def test_wrong_shapes_are_refused(starts: int, shape: tuple[int, int]) -> None:
    topology = Topology(taihulight(), nodes=2, contention=False)
    schedule = collective("allreduce", "ring", topology=topology, elements=5)
    with pytest.raises(ValueError, match="ring"):
        simulate(
            schedule,
            topology=topology,
            protocol=MPI,
            reduction=NOTHING,
            start=np.zeros(starts),
            item_bytes=4,
            values=np.zeros(shape),
        )
