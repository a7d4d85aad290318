"""What collectives take from simultaneous starts: always as flows that share links fairly, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.network import fair_time as module
from sim.network.collectives import OPERATIONS, collective
from sim.network.fair_time import fair_time
from sim.network.flows import run_flows
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult, run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology
from tests.sim.network.networks import SMALL, small, taihulight

pytestmark = pytest.mark.timing

MPI = Protocol.of(taihulight())
ADDERS = ReductionCost.of(taihulight())
NODES = {1: (2, 3, 7, 12, 24, 31), 4: (2, 3, 6)}
SIZES = ((0, 7), (2048, 5), (4096, 0))
"""Bytes for each rank and in all: next to nothing, parts of unequal length, and equal ones of the eager limit."""


@pytest.mark.slow
@pytest.mark.parametrize("network", sorted(SMALL))
def test_steps_that_call_themselves_exact_are(network: str) -> None:
    """All collectives from simultaneous starts, of any count of ranks and any size."""
    called_exact = number = 0
    for operation, builds in OPERATIONS.items():
        for name in builds:
            for ranks_per_node, nodes in NODES.items():
                number += 1
                topology = Topology(small(network), nodes[number % len(nodes)], ranks_per_node)
                for each, more in SIZES:
                    elements = each * topology.ranks + more
                    if operation == "alltoall":
                        elements = -(-elements // topology.ranks) * topology.ranks
                    schedule = collective(operation, name, topology=topology, elements=elements)
                    steps = timed(run, schedule, topology)
                    if steps.contention == "exact":
                        flows = timed(run_flows, schedule, topology)
                        assert (flows.messages, flows.bytes) == (steps.messages, steps.bytes)
                        np.testing.assert_allclose(steps.finish, flows.finish, rtol=1e-12)
                        called_exact += 1
    assert called_exact > number / 2


def timed(
    way: Callable[..., CollectiveResult],
    schedule: Schedule,
    topology: Topology,
    start: NDArray[np.float64] | None = None,
    observe: module.Observe | None = None,
) -> CollectiveResult:
    """With the machine's own MPI and additions by its core groups; from 0 unless said."""
    clocks = np.zeros(topology.ranks) if start is None else start
    return way(schedule, topology=topology, protocol=MPI, reduction=ADDERS, start=clocks, item_bytes=1, observe=observe)


def crossing() -> tuple[Schedule, Topology]:
    """Twelve nodes of two supernodes: messages that cross are late by a hop, and those of other steps beside them."""
    topology = Topology(taihulight("topology.supernode_nodes=8"), 12)
    return collective("reduce_scatter", "pairwise", topology=topology, elements=1_000_003), topology


def test_flows_where_steps_meet_and_few_messages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule, topology = crossing()
    seen: dict[str, list[NDArray[np.float64]]] = {"flows": [], "fair": []}

    def keep(where: str) -> module.Observe:
        def observe(step: Step, clocks: NDArray[np.float64]) -> None:
            seen[where].append(clocks.copy())

        return observe

    steps = timed(run, schedule, topology)
    flows = timed(run_flows, schedule, topology, observe=keep("flows"))
    found = timed(fair_time, schedule, topology, observe=keep("fair"))
    assert (steps.contention, found.contention) == ("approximated", "exact")
    assert np.abs(steps.finish / flows.finish - 1).max() > 1e-5
    np.testing.assert_array_equal(found.finish, flows.finish)
    assert len(seen["fair"]) == found.steps
    np.testing.assert_array_equal(seen["fair"], seen["flows"])
    np.testing.assert_array_equal(seen["fair"][-1], found.finish)
    assert (np.diff(seen["fair"], axis=0) >= 0).all()
    for limit, most in (("MOST_MESSAGES", found.messages - 1), ("MOST_WORK", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, most)
            dear = timed(fair_time, schedule, topology)
            assert dear.contention == "approximated"
            np.testing.assert_array_equal(dear.finish, steps.finish)


def test_switches_that_add_wait_for_all_ranks() -> None:
    """A message leaves each supernode for the next and has a hop to go; it ends last, and so do all."""
    topology = Topology(taihulight("topology.supernode_nodes=4"), 8)
    schedule = collective("allreduce", "in_network", topology=topology, elements=1_000_000)
    start = np.array([0.0, 0, 0, 0, 0, 1e-3, 0, 0])
    found = timed(run_flows, schedule, topology, start)
    # while what hops is late by a microsecond, its neighbours have their nodes' links to themselves
    assert len(set(found.finish.tolist())) == 1
    alone = 1e-3 + MPI.seconds(1_000_000) + 1e6 / 5.28e9
    assert alone < found.finish[0] <= alone + 1e-6
