"""All-reduce by name: what is refused, and which algorithm wins where."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from sim.machine.load import load_machine
from sim.machine.network_spec import NetworkSpec
from sim.network.allreduce import ALGORITHMS, RING_LIMIT
from sim.network.butterfly import fold, halving_doubling, power_of_two
from sim.network.collectives import collective
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult, run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology
from sim.problems import BadInput

ELEMENTS = 25_000_000
"""100 MB of float32."""


@cache
def network() -> NetworkSpec:
    return load_machine("sunway_taihulight").network


def timed(schedule: Schedule, *, topology: Topology) -> CollectiveResult:
    """Float32 elements; all ranks start at 0 s."""
    return run(
        schedule,
        topology=topology,
        protocol=Protocol.of(network()),
        reduction=ReductionCost.of(network()),
        start=np.zeros(topology.ranks),
        item_bytes=4,
    )


def seconds(algorithm: str, *, topology: Topology, elements: int = ELEMENTS) -> float:
    schedule = collective("allreduce", algorithm, topology=topology, elements=elements)
    return float(timed(schedule, topology=topology).finish.max())


@pytest.mark.parametrize(
    ("name", "near"),
    [("halving_doublng", "halving_doubling"), ("Ring", "ring"), ("binomal_tree", "binomial_tree"), ("qqq", None)],
)
def test_unknown_name(name: str, near: str | None) -> None:
    with pytest.raises(BadInput, match="an algorithm of allreduce") as caught:
        collective("allreduce", name, topology=Topology(network(), nodes=4), elements=10)
    (problem,) = caught.value.problems
    assert problem.nearest == near
    for algorithm in ALGORITHMS:
        assert algorithm in str(caught.value)


@pytest.mark.parametrize(("nodes", "ranks_per_node"), [(RING_LIMIT + 1, 1), (1025, 4), (40960, 4)])
def test_a_server_of_many_is_refused(nodes: int, ranks_per_node: int) -> None:
    with pytest.raises(BadInput, match="at most 4,096 ranks for parameter_server"):
        collective("allreduce", "parameter_server", topology=Topology(network(), nodes, ranks_per_node), elements=10)


@pytest.mark.validation
def test_published_rate() -> None:
    """100 MB over 256 nodes: 2 (p - 1) / p · 100 MB in the time of the all-reduce, 3.0 GB/s published (SWCAFFE)."""
    time = seconds("halving_doubling", topology=Topology(network(), nodes=256))
    rate = 2 * 255 / 256 * 4 * ELEMENTS / time
    assert rate == pytest.approx(3.0e9, rel=0.1)
    assert rate == pytest.approx(2.979e9, rel=1e-3)


@pytest.mark.timing
def test_published_rate_by_hand() -> None:
    """8 stages there and back at 5.28 GB/s after 28.9 us each; CPEs launched 8 times add the received 255/256 once."""
    time = seconds("halving_doubling", topology=Topology(network(), nodes=256), elements=256 * 100_000)
    part = 255 / 256 * 256 * 400_000
    assert time == pytest.approx(
        16 * 28.9e-6 + 2 * part / 5.28e9 + 8 * 22e-6 + part * (3 * 4.75 / 128 + 0.175) * 1e-9, rel=1e-12
    )


@pytest.mark.timing
@pytest.mark.parametrize("nodes", [1024, 1280, 4096, 40960])
@pytest.mark.parametrize("ranks_per_node", [1, 4])
def test_near_first_is_faster(nodes: int, ranks_per_node: int) -> None:
    """The large messages stay within supernodes, where four times as many links carry them."""
    topology = Topology(network(), nodes, ranks_per_node)
    near, far = seconds("halving_doubling", topology=topology), seconds("halving_doubling_far", topology=topology)
    assert near < 0.8 * far


@pytest.mark.timing
def test_whole_machine_without_folding() -> None:
    """2^15 · 5 ranks in their own radices, against 2^17 of them with the others' whole messages before and after."""
    topology = Topology(network(), nodes=40960, ranks_per_node=4)
    core = power_of_two(topology.ranks)

    def steps() -> Iterator[Step]:
        yield from fold(ranks=topology.ranks, core=core, elements=ELEMENTS, inward=True)
        yield from halving_doubling(ranks=core, elements=ELEMENTS, members=np.arange(core), far_first=False)
        yield from fold(ranks=topology.ranks, core=core, elements=ELEMENTS, inward=False)

    folded = Schedule(name="folded", ranks=topology.ranks, elements=ELEMENTS, steps=steps)
    native = collective("allreduce", "halving_doubling", topology=topology, elements=ELEMENTS)
    assert core == 2**17
    assert timed(native, topology=topology).finish.max() < 0.5 * timed(folded, topology=topology).finish.max()


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("algorithm", ["halving_doubling", "halving_doubling_far", "recursive_doubling"])
def test_memory_of_the_whole_machine(algorithm: str) -> None:
    """163,840 ranks all-reduce 110 KB in less than 500 MB here."""
    tracemalloc.start()
    try:
        topology = Topology(network(), nodes=40960, ranks_per_node=4)
        found = timed(collective("allreduce", algorithm, topology=topology, elements=27_500), topology=topology)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.finish.shape == (163840,)
    assert peak < 500e6
