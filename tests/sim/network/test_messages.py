"""Arrays of clocks and one process per rank agree to the bit, in times and in numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.machine.load import load_machine
from sim.machine.spec import NetworkSpec
from sim.network.allreduce import ALGORITHMS, allreduce
from sim.network.messages import MOST_NODES, MOST_RANKS_PER_NODE, simulate
from sim.network.ranks import run
from sim.network.schedule import Schedule, Step, execute
from sim.network.topology import Topology

pytestmark = pytest.mark.timing


@cache
def network() -> NetworkSpec:
    return load_machine("sunway_taihulight").network


@dataclass(frozen=True)
class Case:
    """A collective to run: ``uplink`` and ``duplex`` in bytes per second; ``longest_skew`` in seconds."""

    algorithm: str
    nodes: int
    ranks_per_node: int
    supernode_nodes: int
    uplink: float
    duplex: float
    elements: int
    item_bytes: int
    longest_skew: float
    seed: int

    def topology(self) -> Topology:
        spec = replace(
            network(),
            supernode_nodes=self.supernode_nodes,
            uplink_bytes_per_second=self.uplink,
            node_duplex_bytes_per_second=self.duplex,
        )
        return Topology(spec, self.nodes, self.ranks_per_node, contention=False)

    def start(self) -> NDArray[np.float64]:
        return np.random.default_rng(self.seed).uniform(0, self.longest_skew, self.nodes * self.ranks_per_node)

    def values(self) -> NDArray[np.float64]:
        shape = (self.nodes * self.ranks_per_node, self.elements)
        return np.random.default_rng(self.seed + 1).standard_normal(shape)


cases = st.builds(
    Case,
    algorithm=st.sampled_from(sorted(ALGORITHMS)),
    nodes=st.integers(1, MOST_NODES),
    ranks_per_node=st.sampled_from([1, 4]),
    supernode_nodes=st.sampled_from([256, 16, 7]),
    uplink=st.sampled_from([6.47e9, 1e9]),
    duplex=st.sampled_from([10.56e9, 3e9]),
    elements=st.integers(0, 5000),
    item_bytes=st.sampled_from([2, 4, 8, 5000]),
    longest_skew=st.sampled_from([0.0, 1e-5, 1e-3, 1.0]),
    seed=st.integers(0, 2**32 - 2),
)


def assert_same_bits(found: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))


def assert_same(case: Case) -> None:
    topology = case.topology()
    schedule = allreduce(case.algorithm, topology=topology, elements=case.elements)
    cost = network().reduce_seconds_per_byte
    expected = run(
        schedule, topology=topology, start=case.start(), item_bytes=case.item_bytes, reduce_seconds_per_byte=cost
    )
    found = simulate(
        schedule,
        topology=topology,
        start=case.start(),
        item_bytes=case.item_bytes,
        reduce_seconds_per_byte=cost,
        values=case.values(),
    )
    assert_same_bits(found.finish, expected.finish)
    assert (found.messages, found.bytes) == (expected.messages, expected.bytes)
    assert found.values is not None
    assert_same_bits(found.values, execute(schedule, case.values()))


@settings(max_examples=100, deadline=None)
@given(case=cases)
def test_same_times_and_numbers(case: Case) -> None:
    assert_same(case)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize(("nodes", "ranks_per_node"), [(64, 1), (64, 4), (61, 1), (40, 4), (1, 4), (1, 1)])
def test_every_algorithm(algorithm: str, nodes: int, ranks_per_node: int) -> None:
    assert_same(
        Case(
            algorithm=algorithm,
            nodes=nodes,
            ranks_per_node=ranks_per_node,
            supernode_nodes=16,
            uplink=6.47e9,
            duplex=10.56e9,
            elements=700,
            item_bytes=4,
            longest_skew=1e-4,
            seed=nodes,
        )
    )


def test_one_message_by_hand() -> None:
    """Rank 2 comes last: 8,000 B after 33 us at 5.95 GB/s, then rank 0 adds them; rank 1 is not concerned."""
    topology = Topology(network(), nodes=3, contention=False)
    step = Step(np.array([2]), np.array([0]), np.array([0]), np.array([1000]), True, "one")
    schedule = Schedule(name="one message", ranks=3, elements=1000, steps=lambda: iter([step]))
    found = simulate(
        schedule, topology=topology, start=np.array([1e-3, 5.0, 2e-3]), item_bytes=8, reduce_seconds_per_byte=0.286e-9
    )
    sent = 2e-3 + (33e-6 + 8000 / 5.95e9)
    np.testing.assert_array_equal(found.finish, [sent + 0.286e-9 * 8000, 5.0, sent])


def test_sender_and_receiver_waits_for_both() -> None:
    """In 0 -> 1 -> 2 of one step rank 1 goes on only when late rank 2 has its message."""
    topology = Topology(network(), nodes=3, contention=False)
    step = Step(np.array([0, 1]), np.array([1, 2]), np.array([0, 0]), np.array([10, 10]), False, "chain")
    schedule = Schedule(name="chain", ranks=3, elements=10, steps=lambda: iter([step]))
    values = np.arange(30).reshape(3, 10)
    found = simulate(
        schedule,
        topology=topology,
        start=np.array([0.0, 0.0, 1.0]),
        item_bytes=4,
        reduce_seconds_per_byte=1.0,
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
    topology = Topology(network(), nodes, ranks_per_node, contention=False)
    schedule = allreduce("ring", topology=topology, elements=1)
    with pytest.raises(ValueError, match="at most 64 nodes of 4 ranks"):
        simulate(schedule, topology=topology, start=np.zeros(topology.ranks), item_bytes=4, reduce_seconds_per_byte=0.0)


def test_contention_is_refused() -> None:
    topology = Topology(network(), nodes=2)
    schedule = allreduce("ring", topology=topology, elements=1)
    with pytest.raises(ValueError, match="without contention"):
        simulate(schedule, topology=topology, start=np.zeros(2), item_bytes=4, reduce_seconds_per_byte=0.0)


@pytest.mark.parametrize(("starts", "shape"), [(3, (2, 5)), (2, (2, 4))])
def test_wrong_shapes_are_refused(starts: int, shape: tuple[int, int]) -> None:
    topology = Topology(network(), nodes=2, contention=False)
    schedule = allreduce("ring", topology=topology, elements=5)
    with pytest.raises(ValueError, match="ring"):
        simulate(
            schedule,
            topology=topology,
            start=np.zeros(starts),
            item_bytes=4,
            reduce_seconds_per_byte=0.0,
            values=np.zeros(shape),
        )
