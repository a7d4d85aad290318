"""Where ranks of a strategy are, and what that is good for."""

from __future__ import annotations

import numpy as np
import pytest

from sim.network.schemes import scheme
from sim.network.topology import Topology
from tests.workloads.parallel.test_step import timed
from tests.workloads.small import machine
from workloads.parallel import step
from workloads.parallel.group_times import GroupTimes, near_first
from workloads.parallel.placement import NEAR, Near, Placement


@pytest.mark.parametrize("near", NEAR)
def test_every_rank_has_one_place(near: Near) -> None:
    placement = Placement(tensor=2, stages=3, replicas=4, near=near)
    blocks = [placement.block(stage) for stage in range(3)]
    assert sorted(np.concatenate(blocks).ravel().tolist()) == list(range(24))
    assert all((block[:, 1] - block[:, 0] == 1).all() for block in blocks)
    np.testing.assert_array_equal(placement.whole_replicas(), np.concatenate(blocks, axis=1))


def test_neighbours_are_replicas_or_stages() -> None:
    replicas, stages = (Placement(tensor=1, stages=2, replicas=3, near=near) for near in NEAR)
    assert replicas.replica_groups(1).tolist() == [[3, 4, 5]]
    assert stages.replica_groups(1).tolist() == [[1, 3, 5]]
    assert stages.pairs(0, 1).tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("tensor", "stages", "replicas", "near", "ranks_per_node", "expected"),
    [
        (1, 1, 8, "replicas", 1, (8, 1)),
        (1, 1, 8, "replicas", 4, (2, 4)),
        (4, 1, 2, "replicas", 1, (8, 1)),
        (2, 1, 4, "replicas", 4, (2, 2)),
        (1, 4, 4, "replicas", 1, (4, 1)),
        (1, 4, 4, "replicas", 4, (1, 4)),
        (1, 4, 4, "stages", 4, (4, 1)),
        (1, 2, 4, "stages", 4, (2, 2)),
    ],
)
def test_nodes_of_the_first_stage_read_samples(
    tensor: int, stages: int, replicas: int, near: Near, ranks_per_node: int, expected: tuple[int, int]
) -> None:
    placement = Placement(tensor=tensor, stages=stages, replicas=replicas, near=near)
    assert placement.reading(ranks_per_node=ranks_per_node) == expected


@pytest.mark.timing
def test_parts_of_a_sum_stay_in_supernodes_as_the_whole_does() -> None:
    """Over four supernodes reduce-scatter and all-gather take as long as the all-reduce that joins near ranks first."""
    assert sorted(near_first(12)) == list(range(12))
    assert near_first(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    assert near_first(11).tolist() == list(range(11))
    times = GroupTimes(
        topology=Topology(network=machine().network, nodes=1024),
        placement=Placement(tensor=1, stages=1, replicas=1024),
        scheme=scheme("autotuned-2019", network=machine().network),
        item_bytes=8,
    )
    parts, whole, gathered = (
        times.replicas(kind, stage=0, elements=2**20) for kind in ("reduce_scatter", "all_reduce", "all_gather")
    )
    assert parts[0] + gathered[0] == pytest.approx(whole[0], rel=1e-12)
    assert parts[1] + gathered[1] == whole[1]


@pytest.mark.timing
@pytest.mark.slow
def test_ranks_are_placed_as_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of convolutions hand on more than their few weights: where supernodes are full they are neighbours."""
    found = timed("cnn", "pipeline=2,micro_batches=4", nodes=512, samples=16)
    assert found.near == "stages"
    seconds = {}
    for near in NEAR:
        monkeypatch.setattr(step, "NEAR", (near,))
        seconds[near] = timed("cnn", "pipeline=2,micro_batches=4", nodes=512, samples=16).timing.seconds
    assert found.timing.seconds == seconds["stages"] < seconds["replicas"]
