"""Many steps around a ring at once, against one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.machine.load import load_machine
from sim.network.collectives import collective
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.ring_clocks import after_steps, one_step, pass_around
from sim.network.topology import Topology

Floats = NDArray[np.float64]


def step_by_step(start: Floats, duration: Floats, steps: int) -> Floats:
    for _ in range(steps):
        start = one_step(start, duration)
    return start


@settings(max_examples=200, deadline=None)
@given(
    ranks=st.integers(2, 40),
    group=st.integers(1, 12),
    slow=st.sampled_from([1.0, 1.5, 40.0]),
    spread=st.sampled_from([0.0, 3.0, 300.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_steps_at_once_are_all_steps(ranks: int, group: int, slow: float, spread: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    start = random.random(ranks) * spread
    place = np.arange(ranks)
    duration = np.where(place // group != (place + 1) % ranks // group, slow, 1.0)
    found = after_steps(start, duration, steps=ranks - 1)
    assert found is not None
    np.testing.assert_allclose(found, step_by_step(start, duration, ranks - 1), rtol=1e-12)


def test_three_durations_are_too_many() -> None:
    assert after_steps(np.zeros(3), np.array([1.0, 2.0, 3.0]), steps=2) is None


@pytest.mark.timing
@pytest.mark.parametrize(("nodes", "ranks_per_node"), [(2, 1), (97, 1), (300, 1), (512, 1), (5, 4)])
@pytest.mark.parametrize("each", [100, 5000])
def test_an_all_gather_at_once_takes_what_its_steps_take(nodes: int, ranks_per_node: int, each: int) -> None:
    network = load_machine("sunway_taihulight", ["network.topology.supernode_nodes=32"]).network
    topology = Topology(network, nodes, ranks_per_node)
    start = np.random.default_rng(nodes).random(topology.ranks) * 1e-3
    found = pass_around(start, topology=topology, protocol=Protocol.of(network), size=each)
    stepped = run(
        collective("allgather", "ring", topology=topology, elements=each * topology.ranks),
        topology=topology,
        protocol=Protocol.of(network),
        reduction=ReductionCost.of(network),
        start=start,
        item_bytes=1,
    )
    np.testing.assert_allclose(found.finish, stepped.finish, rtol=1e-12)
    assert (found.messages, found.bytes) == (stepped.messages, stepped.bytes)
    assert found.latency_seconds == pytest.approx(stepped.latency_seconds, rel=1e-9)
    assert found.transfer_seconds == pytest.approx(stepped.transfer_seconds, rel=1e-9)
