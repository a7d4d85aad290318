"""Slow links: as many as asked for, the same for a seed, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.machine.load import load_machine
from sim.network.collectives import collective
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.slow_links import with_slow_links
from sim.network.topology import MEMORY, NODE_BOTH, NODE_OUT, Topology
from tests.sim.network.networks import SIMPLE, taihulight

pytestmark = pytest.mark.timing

NOISE = replace(load_machine("sunway_taihulight").noise, slow_links=7, slow_link_factor=3.0)


@pytest.mark.parametrize("nodes", [1, 2, 512])
def test_as_many_as_asked_for(nodes: int) -> None:
    topology = Topology(taihulight(), nodes)
    slow = with_slow_links(topology, NOISE, seed=1).slow_links
    links = sum(kind.count for number, kind in enumerate(topology.kinds) if number not in (NODE_BOTH, MEMORY))
    assert len({(each.kind, each.link) for each in slow}) == min(7, links)
    assert all(0 <= each.link < topology.kinds[each.kind].count for each in slow)
    assert all(each.kind not in (NODE_BOTH, MEMORY) for each in slow)
    assert slow == with_slow_links(topology, NOISE, seed=1).slow_links
    if nodes == 512:
        assert slow != with_slow_links(topology, NOISE, seed=2).slow_links


def test_one_slow_link_holds_up_all() -> None:
    """Every step of a halving waits for who sends over a third of a link."""
    topology = Topology(taihulight(), nodes=64)
    drawn = (with_slow_links(topology, replace(NOISE, slow_links=1), seed=seed) for seed in range(100))
    slow = next(each for each in drawn if each.slow_links[0].kind == NODE_OUT)
    before, after = (
        run(
            collective("allreduce", "halving_doubling", topology=each, elements=64_000_000),
            topology=each,
            protocol=SIMPLE,
            reduction=ReductionCost(seconds_per_byte=0.0),
            start=np.zeros(64),
            item_bytes=4,
        )
        for each in (topology, slow)
    )
    # half of 10.56 GB/s before, a third of 5.95 after
    assert after.transfer_seconds / before.transfer_seconds == pytest.approx(5.28 / (5.95 / 3), rel=1e-9)
    assert after.finish.max() > 2 * before.finish.max()
