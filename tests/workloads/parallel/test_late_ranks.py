"""Unequal ranks under a strategy: as in data parallelism where it is that, and felt by all that wait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnlib.optim.adam import Adam
from sim.machine.network_spec import NoiseSpec
from sim.machine.spec import MachineSpec
from sim.network.slow_links import with_slow_links
from sim.network.topology import Topology
from tests.workloads.parallel.test_step import data_parallel, mapping_of, timed
from tests.workloads.small import machine
from workloads.jobs.gradients import communicator
from workloads.jobs.noise import late_seconds
from workloads.jobs.training_step import time_step
from workloads.parallel.late_ranks import Passes, late_passes
from workloads.parallel.placement import Placement
from workloads.parallel.strategy_timing import strategy_timing_of

pytestmark = pytest.mark.timing

SILENT = replace(machine().noise, compute_jitter=0.0, system_duration_seconds=0.0)


def noisy(noise: NoiseSpec | None = None) -> MachineSpec:
    """The default machine with ``noise``, by default of every kind."""
    spec = machine()
    return replace(spec, noise=noise or replace(spec.noise, compute_jitter=0.05, slow_nodes=1, slow_links=2))


@pytest.mark.parametrize(
    "settings",
    [(), ("overlap=false",), ("ranks_per_node=4", "gradient_buckets=2 KB"), ("persistent_threads=true",)],
)
def test_data_parallelism_is_as_late_as_the_data_parallel_step(settings: tuple[str, ...]) -> None:
    """Jitter, the operating system, slow nodes and slow links; two ways to the same seconds."""
    spec, mapping, nodes = noisy(), mapping_of(*settings), 8
    divided = timed("mlp", "data", *settings, nodes=nodes, samples=8, optimizer=Adam(), spec=spec, seed=3)
    node, _ = data_parallel("mlp", *settings, nodes=nodes, samples=8, optimizer=Adam())
    ranks = mapping.ranks_per_node
    late = late_seconds(spec.noise, seconds=node.seconds, nodes=nodes, ranks_per_node=ranks, seed=3)
    adding = communicator(machine=spec, mapping=mapping, nodes=nodes, item_bytes=8, seed=3)
    assert with_slow_links(Topology(network=spec.network, nodes=nodes), spec.noise, seed=3).slow_links
    expected = time_step(node=node, machine=spec, mapping=mapping, nodes=nodes, known=adding, late=late)
    found = divided.timing
    assert found.seconds == pytest.approx(expected.seconds, rel=1e-12)
    assert found.shares == pytest.approx(dict(expected.shares), abs=1e-12)
    assert found.communication_seconds == pytest.approx(expected.communication_seconds, rel=1e-9)
    assert found.shares["jitter"] > 0.01


@pytest.mark.parametrize("text", ["tensor=2", "tensor=2,pipeline=2,micro_batches=2,optimizer_sharding", "pipeline=4"])
def test_noise_only_costs_and_has_its_share(text: str) -> None:
    quiet = timed("mlp", text, nodes=16)
    still = timed("mlp", text, nodes=16, spec=noisy(SILENT), seed=0)
    assert still == replace(quiet, timing=replace(quiet.timing, shares={**quiet.timing.shares, "jitter": 0.0}))
    found = timed("mlp", text, nodes=16, spec=noisy(), seed=1)
    assert found.timing.seconds > quiet.timing.seconds
    assert sum(found.timing.shares.values()) == pytest.approx(1, abs=1e-12)
    assert min(found.timing.shares.values()) >= 0
    assert found.jitter_seconds / found.timing.seconds == pytest.approx(found.timing.shares["jitter"])
    assert strategy_timing_of(found.as_json()) == found
    assert timed("mlp", text, nodes=16, spec=noisy(), seed=1) == found
    assert timed("mlp", text, nodes=16, spec=noisy(), seed=2) != found


def test_one_slow_node_holds_up_its_tensor_group() -> None:
    """A node that computes twice as long loses 9 seconds in two micro-batches, a quarter of it going forward."""
    noise = replace(SILENT, slow_nodes=1, slow_node_factor=2.0)
    stages = [Passes(forward=1.0, backward=3.0, step=9.0, micro_batches=2)] * 2
    late = late_passes(noise, stages, placement=Placement(tensor=2, stages=2, replicas=3), ranks_per_node=1, seed=0)
    np.testing.assert_allclose(late[0].forward, [9 / 2 / 4, 0, 0])
    np.testing.assert_allclose(late[0].backward, [3 * 9 / 2 / 4, 0, 0])
    assert not late[1].forward.any()
