"""Flows that share links fairly at every moment, and how near the steps on arrays come to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.network.collectives import collective
from sim.network.flows import MOST_NODES, run_flows
from sim.network.max_min import max_min_rates
from sim.network.ranks import CollectiveResult, run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology
from sim.problems import BadInput
from tests.sim.network.networks import SIMPLE, SMALL, random_schedule, small, taihulight

pytestmark = pytest.mark.timing

ADDING = ReductionCost(seconds_per_byte=0.286e-9)
ONE_WAY, BOTH_WAYS = 5.95e9, 10.56e9


def both(
    schedule: Schedule,
    *,
    topology: Topology,
    start: NDArray[np.float64] | None = None,
    reduction: ReductionCost = ADDING,
) -> tuple[CollectiveResult, CollectiveResult]:
    """Steps on arrays and single flows; all ranks start at 0 unless said."""
    clocks = np.zeros(topology.ranks) if start is None else start
    found = [
        way(schedule, topology=topology, protocol=SIMPLE, reduction=reduction, start=clocks, item_bytes=4)
        for way in (run, run_flows)
    ]
    return found[0], found[1]


@settings(max_examples=40, deadline=None)
@given(flows=st.integers(1, 30), links=st.integers(1, 12), width=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_fair_rates(flows: int, links: int, width: int, seed: int) -> None:
    """No link is overfull, and each flow has a full link on which no other flow is faster."""
    random = np.random.default_rng(seed)
    capacity = random.choice([1.0, 2.0, 3.0, 7.5], links)
    paths = np.full((flows, width), -1)
    for flow in range(flows):
        crossed = random.permutation(links)[: random.integers(1, width + 1)]
        paths[flow, : len(crossed)] = crossed
    rate = max_min_rates(paths, capacity)
    used = [set(path[path >= 0].tolist()) for path in paths]
    carried = [sum(rate[flow] for flow in range(flows) if link in used[flow]) for link in range(links)]
    assert all(total <= most * (1 + 1e-9) for total, most in zip(carried, capacity, strict=True))
    for flow in range(flows):
        full = [link for link in used[flow] if carried[link] >= capacity[link] * (1 - 1e-9)]
        fastest = [max(rate[other] for other in range(flows) if link in used[other]) for link in full]
        assert any(rate[flow] >= most * (1 - 1e-9) for most in fastest)


def test_who_stays_gets_what_others_leave() -> None:
    """0 -> 1 sends 8 MB, 2 -> 1 twice as much: both at half of what node 1 takes, the rest at the whole of it."""
    topology = Topology(taihulight(), nodes=3)
    first = Step(np.array([0]), np.array([1]), np.array([0]), np.array([2_000_000]), False, "first")
    second = Step(np.array([2]), np.array([1]), np.array([0]), np.array([4_000_000]), False, "second")
    both_steps = Schedule(name="two", ranks=3, elements=4_000_000, steps=lambda: iter([first, second]))
    found = run_flows(both_steps, topology=topology, protocol=SIMPLE, reduction=ADDING, start=np.zeros(3), item_bytes=4)
    alone = 33e-6 + 8e6 / ONE_WAY
    # rank 1 takes the second message only when it has the first
    np.testing.assert_allclose(found.finish, [alone, alone + 33e-6 + 16e6 / ONE_WAY, alone + 33e-6 + 16e6 / ONE_WAY])
    shared = Topology(taihulight(), nodes=3, ranks_per_node=2)
    step = Step(np.array([0, 4]), np.array([2, 3]), np.array([0, 0]), np.array([2_000_000, 4_000_000]), False, "one")
    schedule = Schedule(name="one", ranks=6, elements=4_000_000, steps=lambda: iter([step]))
    found = run_flows(schedule, topology=shared, protocol=SIMPLE, reduction=ADDING, start=np.zeros(6), item_bytes=4)
    half = 33e-6 + 16e6 / ONE_WAY
    np.testing.assert_allclose(found.finish, [half, 0, half, half + 8e6 / ONE_WAY, half + 8e6 / ONE_WAY, 0])


def test_a_late_message_shares_only_what_is_left() -> None:
    """0 <-> 1 and, 1 ms later, nothing else: the second half of the exchange is one way."""
    topology = Topology(taihulight(), nodes=2, ranks_per_node=2)
    step = Step(np.array([0, 3]), np.array([2, 1]), np.array([0, 0]), np.array([4_000_000] * 2), False, "one")
    schedule = Schedule(name="one", ranks=4, elements=4_000_000, steps=lambda: iter([step]))
    start = np.array([0.0, 1e-3, 0.0, 0.0])
    steps, flows = both(schedule, topology=topology, start=start)
    # 1 ms alone, then together at half of both ways until the first is through
    before = 1e-3 * ONE_WAY
    first = 33e-6 + 1e-3 + (16e6 - before) / (BOTH_WAYS / 2)
    left = 16e6 - (first - 33e-6 - 1e-3) * BOTH_WAYS / 2
    np.testing.assert_allclose(flows.finish[[0, 2]], first)
    np.testing.assert_allclose(flows.finish[[1, 3]], first + left / ONE_WAY)
    assert (steps.contention, flows.contention) == ("approximated", "exact")


@pytest.mark.parametrize(
    "algorithm",
    [
        "binomial_tree",
        "halving_doubling",
        "halving_doubling_far",
        "halving_doubling_round_robin",
        "hierarchical",
        "recursive_doubling",
    ],
)
@pytest.mark.parametrize(
    ("nodes", "ranks_per_node"),
    [
        (64, 1),
        (512, 1),
        (32, 4),
        pytest.param(1024, 1, marks=pytest.mark.slow),
        pytest.param(256, 4, marks=pytest.mark.slow),
    ],
)
def test_steps_from_simultaneous_starts_are_flows(algorithm: str, nodes: int, ranks_per_node: int) -> None:
    """Equal parts, over supernodes and inside nodes: to rounding."""
    topology = Topology(taihulight(), nodes, ranks_per_node)
    steps, flows = both(
        collective("allreduce", algorithm, topology=topology, elements=topology.ranks * 1000), topology=topology
    )
    assert steps.contention == "exact"
    np.testing.assert_allclose(steps.finish, flows.finish, rtol=1e-12)
    assert (steps.messages, steps.bytes, steps.steps) == (flows.messages, flows.bytes, flows.steps)
    np.testing.assert_allclose(
        [steps.latency_seconds, steps.transfer_seconds, steps.reduce_seconds],
        [flows.latency_seconds, flows.transfer_seconds, flows.reduce_seconds],
        rtol=1e-9,
    )


@pytest.mark.parametrize("algorithm", ["binomial_tree", "hierarchical", "recursive_doubling"])
@pytest.mark.parametrize("nodes", [3, 61, 300, 320])
def test_whole_messages_of_any_number_of_ranks(algorithm: str, nodes: int) -> None:
    """The pairs of a tree and of recursive doubling get out of step with others, but not on the same links."""
    topology = Topology(taihulight(), nodes)
    steps, flows = both(collective("allreduce", algorithm, topology=topology, elements=250_008), topology=topology)
    assert steps.contention == "exact"
    np.testing.assert_allclose(steps.finish, flows.finish, rtol=1e-12)


@pytest.mark.parametrize("algorithm", ["ring", "parameter_server"])
@pytest.mark.parametrize("nodes", [16, 61])
def test_many_steps_within_a_supernode(algorithm: str, nodes: int) -> None:
    topology = Topology(taihulight(), nodes)
    steps, flows = both(collective("allreduce", algorithm, topology=topology, elements=1000 * nodes), topology=topology)
    assert steps.contention == "exact"
    np.testing.assert_allclose(steps.finish, flows.finish, rtol=1e-12)


@settings(max_examples=12, deadline=None)
@given(
    algorithm=st.sampled_from(["binomial_tree", "halving_doubling", "hierarchical", "ring", "random", "random"]),
    network=st.sampled_from(sorted(SMALL)),
    nodes=st.integers(2, 24),
    ranks_per_node=st.sampled_from([1, 2]),
    elements=st.integers(1, 50_000),
    skew=st.sampled_from([0.0, 1e-6, 1e-3]),
    overlapped=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_called_exact_is(
    algorithm: str,
    network: str,
    nodes: int,
    ranks_per_node: int,
    elements: int,
    skew: float,
    overlapped: bool,
    seed: int,
) -> None:
    """Where no message shared a link with one that began or ended at another moment."""
    topology = Topology(small(network), nodes, ranks_per_node)
    if algorithm == "random":
        schedule = random_schedule(ranks=topology.ranks, elements=elements, steps=4, seed=seed)
    else:
        schedule = collective("allreduce", algorithm, topology=topology, elements=elements)
    start = np.random.default_rng(seed).uniform(0, skew, topology.ranks)
    reduction = ReductionCost(seconds_per_byte=0.5e-9, start_seconds=1e-6, overlapped=overlapped)
    steps, flows = both(schedule, topology=topology, start=start, reduction=reduction)
    if steps.contention == "exact":
        np.testing.assert_allclose(steps.finish, flows.finish, rtol=1e-12)
    assert flows.contention == "exact"
    # no message is faster than alone
    alone = Topology(small(network), nodes, ranks_per_node, contention=False)
    bound = run(schedule, topology=alone, protocol=SIMPLE, reduction=reduction, start=start, item_bytes=4)
    assert bound.contention == "none"
    if not overlapped:
        assert (flows.finish >= bound.finish * (1 - 1e-9)).all()


def test_more_nodes_are_refused() -> None:
    topology = Topology(taihulight(), nodes=MOST_NODES + 1)
    schedule = collective("allreduce", "binomial_tree", topology=topology, elements=1)
    with pytest.raises(BadInput, match="at most 1,024 nodes for single flows"):
        both(schedule, topology=topology)
    alone = Topology(taihulight(), nodes=2, contention=False)
    with pytest.raises(ValueError, match="with contention"):
        both(collective("allreduce", "ring", topology=alone, elements=1), topology=alone)
