"""One collective in many groups at once: who sends what to whom, and who shares a link."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from sim.machine.load import load_machine
from sim.network import schedule as schedule_module
from sim.network.collectives import collective
from sim.network.groups import in_groups
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, execute
from sim.network.topology import Topology

NETWORK = load_machine(DEFAULT_MACHINE).network


def topology(nodes: int, ranks_per_node: int = 1) -> Topology:
    return Topology(network=NETWORK, nodes=nodes, ranks_per_node=ranks_per_node)


def finish(schedule: Schedule, place: Topology, start: np.ndarray | None = None) -> np.ndarray:
    return run(
        schedule,
        topology=place,
        protocol=Protocol.of(NETWORK),
        reduction=ReductionCost.of(NETWORK),
        start=np.zeros(place.ranks) if start is None else start,
        item_bytes=8,
    ).finish


@pytest.mark.numeric
@pytest.mark.parametrize("members", [np.arange(12).reshape(3, 4), np.arange(12).reshape(4, 3).T.copy()])
def test_every_group_adds_up_its_own(members: np.ndarray) -> None:
    groups, size = members.shape
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 10))
    spread = in_groups(collective("allreduce", "ring", topology=topology(size), elements=10), members, ranks=12)
    found = execute(spread, values)
    for group in range(groups):
        expected = execute(
            collective("allreduce", "ring", topology=topology(size), elements=10), values[members[group]]
        )
        np.testing.assert_array_equal(found[members[group]], expected)


@pytest.mark.numeric
def test_an_exchange_of_all_with_all_keeps_its_second_copy() -> None:
    place = topology(2)
    alone = collective("alltoall", "pairwise", topology=place, elements=4)
    values = np.arange(16.0).reshape(4, 4)
    found = execute(in_groups(alone, np.array([[0, 2], [1, 3]]), ranks=4), values)
    np.testing.assert_array_equal(found[[0, 2]], execute(alone, values[[0, 2]]))


@pytest.mark.timing
def test_groups_inside_supernodes_do_not_meet() -> None:
    """64 groups of four neighbours in each of two supernodes take as long as one."""
    members = np.arange(512).reshape(128, 4)
    alone = collective("allreduce", "halving_doubling", topology=topology(4), elements=100_000)
    together = finish(in_groups(alone, members, ranks=512), topology(512))
    np.testing.assert_array_equal(together, np.tile(finish(alone, topology(4)), 128))


@pytest.mark.timing
def test_groups_across_supernodes_share_their_uplinks() -> None:
    """256 pairs over 64 uplinks of 6.47 GB/s: less than a node's own link."""
    members = np.stack([np.arange(256), np.arange(256, 512)], axis=1)
    alone = collective("allreduce", "halving_doubling", topology=topology(2), elements=1_000_000)
    together, one = (finish(in_groups(alone, each, ranks=512), topology(512)).max() for each in (members, members[:1]))
    assert together > 2 * one


@pytest.mark.timing
def test_ranks_outside_the_groups_go_on() -> None:
    members = np.array([[1, 3]])
    found = finish(
        in_groups(collective("allreduce", "ring", topology=topology(2), elements=8), members, ranks=4), topology(4)
    )
    assert (found > 0).tolist() == [False, True, False, True]


@pytest.mark.timing
def test_few_long_rings_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rings side by side, of ranks that begin together or not, as step by step; many short ones go so."""
    members = np.arange(48).reshape(3, 16)
    ring = in_groups(collective("allreduce", "ring", topology=topology(16), elements=16 * 1000), members, ranks=48)
    assert (
        in_groups(
            collective("allreduce", "ring", topology=topology(4), elements=8), members.reshape(12, 4), ranks=48
        ).shortened
        is None
    )
    assert ring.shortened is not None
    start = np.where(np.arange(48) % 7 == 3, 1e-3, 0.0)
    one = in_groups(collective("allreduce", "ring", topology=topology(16), elements=16 * 1000), members[1:2], ranks=48)
    for rings in (ring, one):
        for begin in (np.zeros(48), start):
            expected = finish(rings, topology(48), begin)
            with monkeypatch.context() as patch:
                patch.setattr(schedule_module, "STEP_BY_STEP_RANKS", 8)
                found = finish(rings, topology(48), begin)
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.numeric
def test_switches_add_up_each_group_by_itself() -> None:
    """In the network too: numbers and, where no link is shared, times of one group alone."""
    alone = collective("allreduce", "in_network", topology=topology(4), elements=1000)
    spread = in_groups(alone, np.arange(12).reshape(3, 4), ranks=12)
    values = np.random.default_rng(0).normal(size=(12, 1000))
    found = execute(spread, values)
    for group in (slice(0, 4), slice(4, 8), slice(8, 12)):
        np.testing.assert_array_equal(found[group], execute(alone, values[group]))
    np.testing.assert_array_equal(finish(spread, topology(12)), np.tile(finish(alone, topology(4)), 3))


def test_groups_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="groups of 2 ranks expected"):
        in_groups(
            collective("allreduce", "ring", topology=topology(2), elements=8), np.arange(6).reshape(2, 3), ranks=6
        )
