"""Which links carried what."""

from __future__ import annotations

import numpy as np
import pytest

from sim.network.collectives import collective
from sim.network.link_use import LinkUse
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.topology import NODE_BOTH, NODE_IN, NODE_OUT, SlowLink, Topology
from tests.sim.network.networks import SIMPLE, small, taihulight

pytestmark = pytest.mark.timing


def test_exchange_between_supernodes_by_hand() -> None:
    """512 nodes halve and double 512 kB: all but 1/256 of each half stays inside, 2 kB of each node cross."""
    topology = Topology(taihulight(), nodes=512)
    use = LinkUse(collective("allreduce", "halving_doubling", topology=topology, elements=512 * 250), topology, 4)
    sent = 2 * 511 * 1000
    np.testing.assert_array_equal(use.bytes[NODE_OUT], sent)
    np.testing.assert_array_equal(use.bytes[NODE_IN], sent)
    np.testing.assert_array_equal(use.bytes[NODE_BOTH], 2 * sent)
    up, down = use.bytes[4:]
    np.testing.assert_array_equal(up, 4 * 2 * 1000)
    np.testing.assert_array_equal(down, 4 * 2 * 1000)
    busiest = use.busiest(1)[0]
    assert (busiest.kind, busiest.bytes, busiest.bytes_per_second) == ("node both ways", 2 * sent, 10.56e9)
    assert busiest.busy_seconds == pytest.approx(2 * sent / 10.56e9)
    kinds = [load.kind for load in use.busiest_of_each_kind()]
    assert kinds == ["node both ways", "node out", "node in", "supernode up", "supernode down"]


def test_leaders_of_supernodes_crowd_one_link() -> None:
    """Every leader's number is a multiple of 64: what crosses takes the first of 64 uplinks."""
    topology = Topology(taihulight(), nodes=1024)
    use = LinkUse(collective("allreduce", "hierarchical", topology=topology, elements=1000), topology, 4)
    up = use.bytes[4].reshape(4, 64)
    assert (up[:, 0] == 2 * 3 * 1000).all()
    assert not up[:, 1:].any()
    assert "supernode 0 up to central switch 0, link 0" in [load.name for load in use.busiest_of_each_kind()]


def test_turns_count_as_often_as_they_are_made() -> None:
    topology = Topology(taihulight(), nodes=4097)
    use = LinkUse(collective("allgather", "ring", topology=topology, elements=4097), topology, 4)
    np.testing.assert_array_equal(use.bytes[NODE_OUT], 4096 * 4)


@pytest.mark.parametrize("network", ["torus", "dragonfly", "fat tree"])
def test_a_link_is_never_busy_for_longer_than_the_collective_takes(network: str) -> None:
    topology = Topology(small(network), nodes=64)
    found = run(
        collective("allreduce", "halving_doubling", topology=topology, elements=64_000),
        topology=topology,
        protocol=SIMPLE,
        reduction=ReductionCost(seconds_per_byte=0.0),
        start=np.zeros(64),
        item_bytes=4,
    )
    (load,) = found.links.busiest(1)
    assert 0 < load.busy_seconds < found.finish.max()


def test_a_slow_link_slows_those_that_cross_it() -> None:
    topology = Topology(taihulight(), nodes=4, slow_links=(SlowLink(NODE_IN, 2, 4.0),))
    routes = topology.routes(np.arange(4), np.array([1, 2, 3, 0]), everyone=True)
    np.testing.assert_allclose(routes.rate, [5.28e9, 5.95e9 / 4, 5.28e9, 5.28e9])
    use = LinkUse(collective("allreduce", "ring", topology=topology, elements=400), topology, 4)
    assert (use.busiest(1)[0].name, use.busiest(1)[0].bytes_per_second) == ("node 2 in", 5.95e9 / 4)
