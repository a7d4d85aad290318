"""Clocks of the ranks: nothing to do takes no time, and a later start never helps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.machine.load import load_machine
from sim.machine.network_spec import NetworkSpec
from sim.network.allreduce import ALGORITHMS
from sim.network.collectives import collective
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.topology import SlowLink, Topology
from tests.sim.network.networks import SIMPLE, SMALL

pytestmark = pytest.mark.timing


@cache
def network() -> NetworkSpec:
    return load_machine("sunway_taihulight").network


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("contention", [False, True])
@pytest.mark.parametrize(("nodes", "elements"), [(1, 1000), (5, 0)], ids=["one rank", "no elements"])
def test_nothing_to_send_takes_no_time(algorithm: str, contention: bool, nodes: int, elements: int) -> None:
    topology = Topology(network(), nodes, contention=contention)
    schedule = collective("allreduce", algorithm, topology=topology, elements=elements)
    start = np.linspace(1.0, 2.0, nodes)
    found = run(
        schedule,
        topology=topology,
        protocol=Protocol.of(network()),
        reduction=ReductionCost(seconds_per_byte=1.0),
        start=start,
        item_bytes=4,
    )
    np.testing.assert_array_equal(found.finish, start)
    assert (found.steps, found.messages, found.bytes) == (0, 0, 0)
    assert (found.latency_seconds, found.transfer_seconds, found.reduce_seconds) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize(("nodes", "ranks_per_node"), [(2, 1), (64, 1), (512, 1), (20, 4)])
def test_parts_of_the_time(algorithm: str, nodes: int, ranks_per_node: int) -> None:
    """The slowest messages' latency, transfer and addition bound the whole from above, when all start together."""
    topology = Topology(network(), nodes, ranks_per_node)
    schedule = collective("allreduce", algorithm, topology=topology, elements=10_000)
    start = np.full(topology.ranks, 3.0)
    found = run(
        schedule,
        topology=topology,
        protocol=Protocol.of(network()),
        reduction=ReductionCost.of(network()),
        start=start,
        item_bytes=4,
    )
    parts = found.latency_seconds + found.transfer_seconds + found.reduce_seconds
    assert found.finish.max() - 3.0 <= parts * (1 + 1e-9)
    np.testing.assert_array_equal(start, 3.0)


def test_two_ranks_by_hand() -> None:
    """Halving and doubling of 8,000 B: twice 4,000 B both ways at 5.28 GB/s, added once."""
    topology = Topology(network(), nodes=2)
    schedule = collective("allreduce", "halving_doubling", topology=topology, elements=1000)
    found = run(
        schedule,
        topology=topology,
        protocol=SIMPLE,
        reduction=ReductionCost(seconds_per_byte=0.286e-9),
        start=np.array([1.0, 0.0]),
        item_bytes=8,
    )
    message = 4.3e-6 + 4000 / 5.28e9
    np.testing.assert_allclose(found.finish, 1.0 + 2 * message + 4000 * 0.286e-9, rtol=1e-15)
    assert (found.steps, found.messages, found.bytes) == (2, 4, 16000)
    np.testing.assert_allclose(
        [found.latency_seconds, found.transfer_seconds, found.reduce_seconds],
        [8.6e-6, 8000 / 5.28e9, 4000 * 0.286e-9],
        rtol=1e-14,
    )


@settings(max_examples=40, deadline=None)
@given(
    algorithm=st.sampled_from(sorted(ALGORITHMS)),
    nodes=st.integers(1, 40),
    ranks_per_node=st.sampled_from([1, 4]),
    elements=st.integers(0, 20_000),
    spread=st.sampled_from([0.0, 1e-5, 1e-3]),
    delay=st.floats(0, 1e-2),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_later_start_never_helps(
    algorithm: str, nodes: int, ranks_per_node: int, elements: int, spread: float, delay: float, seed: int
) -> None:
    topology = Topology(network(), nodes, ranks_per_node, contention=False)
    random = np.random.default_rng(seed)
    early = random.uniform(0, spread, topology.ranks)
    late = early.copy()
    late[random.integers(topology.ranks)] += delay
    before, after = (
        run(
            collective("allreduce", algorithm, topology=topology, elements=elements),
            topology=topology,
            protocol=Protocol.of(network()),
            reduction=ReductionCost.of(network()),
            start=start,
            item_bytes=4,
        ).finish
        for start in (early, late)
    )
    assert (after >= before).all()
    assert (before >= early).all()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_ranks_that_do_alike_are_timed_once_to_the_bit(data: st.DataObject) -> None:
    """Whatever the clocks are at first: all equal, repeating, or all different; some links slow or not."""
    kind = data.draw(st.sampled_from(sorted(SMALL)))
    nodes = data.draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16, 20, 32, 48, 64]))
    ranks_per_node = data.draw(st.sampled_from([1, 2, 4]))
    slow = data.draw(st.sampled_from([(), (SlowLink(kind=0, link=0, factor=3.0),)]))
    topology = Topology(replace(network(), topology=SMALL[kind]), nodes, ranks_per_node, slow_links=slow)
    ranks = topology.ranks
    elements = data.draw(st.sampled_from([ranks, ranks + 1, 3 * ranks - 1, 10_007, 64_000]))
    schedule = collective("allreduce", "halving_doubling", topology=topology, elements=elements)
    assert (schedule.exchanges is None) == (elements < ranks)
    period = data.draw(st.sampled_from([each for each in range(1, ranks + 1) if ranks % each == 0]))
    seed = data.draw(st.integers(0, 100))
    start = np.tile(np.random.default_rng(seed).choice([0.0, 1e-5, 3e-5], size=period), ranks // period)
    alike, each = (
        run(
            plan,
            topology=topology,
            protocol=SIMPLE,
            reduction=ReductionCost.of(network(), overlapped=True),
            start=start,
            item_bytes=8,
            judge=False,
        )
        for plan in (schedule, replace(schedule, exchanges=None))
    )
    np.testing.assert_array_equal(alike.finish, each.finish)
    assert alike == replace(each, finish=alike.finish)
