"""Each collective gives what NumPy gives, for any count of ranks; what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.machine.load import load_machine
from sim.network.allreduce import RING_LIMIT, renumbered
from sim.network.collectives import LINEAR, OPERATIONS, algorithms, collective, operation_name
from sim.network.messages import simulate
from sim.network.mpich import broadcast_algorithm
from sim.network.protocol import Protocol
from sim.network.ranks import run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, execute
from sim.network.topology import Topology
from sim.problems import BadInput

Array = NDArray[np.int64]
PAIRS = [(operation, name) for operation in OPERATIONS for name in algorithms(operation)]
counts = st.one_of(st.integers(1, 40), st.sampled_from([11, 13, 22, 26, 97, 128, 160]))


@dataclass(frozen=True)
class Groups:
    """As much of a topology as a schedule needs."""

    ranks: int
    supernode_ranks: int


def made(operation: str, name: str, *, ranks: int, elements: int, group: int = 8, segments: int = 3) -> Schedule:
    topology: Topology = Groups(ranks, group)  # type: ignore[assignment]
    return collective(operation, name, topology=topology, elements=elements, item_bytes=8, segments=segments)


def expected(operation: str, values: Array) -> list[tuple[int, slice, Array]]:
    """What ranks must hold: (rank, place, values)."""
    ranks, elements = values.shape
    bounds = np.arange(ranks + 1) * elements // ranks
    parts = [slice(*ends) for ends in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
    total, everywhere = values.sum(axis=0), slice(0, elements)
    match operation:
        case "allreduce":
            return [(rank, everywhere, total) for rank in range(ranks)]
        case "broadcast":
            return [(rank, everywhere, values[0]) for rank in range(ranks)]
        case "reduce":
            return [(0, everywhere, total)]
        case "scatter":
            return [(rank, part, values[0, part]) for rank, part in enumerate(parts)]
        case "gather":
            return [(0, part, values[owner, part]) for owner, part in enumerate(parts)]
        case "reduce_scatter":
            return [(rank, part, total[part]) for rank, part in enumerate(parts)]
        case "allgather":
            joined = np.concatenate([values[owner, part] for owner, part in enumerate(parts)])
            return [(rank, everywhere, joined) for rank in range(ranks)]
        case _:
            return [(rank, everywhere, values[:, part].ravel()) for rank, part in enumerate(parts)]


@pytest.mark.numeric
@pytest.mark.parametrize(("operation", "name"), PAIRS)
@settings(max_examples=8, deadline=None)
@given(ranks=counts, each=st.integers(0, 5), odd=st.integers(0, 300), group=st.sampled_from([3, 8, 256]))
def test_gives_what_numpy_gives(operation: str, name: str, ranks: int, each: int, odd: int, group: int) -> None:
    elements = each * ranks if operation == "alltoall" else odd
    values = np.random.default_rng(ranks).integers(-(2**40), 2**40, (ranks, elements))
    found = execute(made(operation, name, ranks=ranks, elements=elements, group=group), values)
    for rank, place, right in expected(operation, values):
        np.testing.assert_array_equal(found[rank, place], right)


@pytest.mark.parametrize(("operation", "name"), PAIRS)
@settings(max_examples=6, deadline=None)
@given(ranks=counts, each=st.integers(0, 40))
def test_one_message_out_and_one_in(operation: str, name: str, ranks: int, each: int) -> None:
    patterns: dict[object, tuple[bytes, bytes]] = {}
    for step in made(operation, name, ranks=ranks, elements=each * ranks).steps():
        assert len(step.source) == len(step.destination) == len(step.begin) == len(step.end) > 0
        assert max(np.bincount(step.source).max(), np.bincount(step.destination).max()) == 1
        assert (step.source != step.destination).all()
        assert (step.begin <= step.end).all()
        assert not step.everyone or step.source.tolist() == list(range(ranks))
        ends = step.source.tobytes(), step.destination.tobytes()
        assert patterns.setdefault(step.pattern, ends) == ends


@pytest.mark.parametrize(
    ("operation", "name", "times"),
    [
        ("reduce_scatter", "halving", 1),
        ("reduce_scatter", "ring", 1),
        ("reduce_scatter", "pairwise", 1),
        ("allgather", "doubling", 1),
        ("allgather", "ring", 1),
        ("alltoall", "pairwise", 1),
    ],
)
@pytest.mark.parametrize("ranks", [2, 6, 64, 105])
def test_least_possible_traffic(operation: str, name: str, times: int, ranks: int) -> None:
    sent = np.zeros(ranks, dtype=np.int64)
    for step in made(operation, name, ranks=ranks, elements=3 * ranks).steps():
        sent[step.source] += step.end - step.begin
    np.testing.assert_array_equal(sent, times * 3 * (ranks - 1))


def test_a_chain_passes_segments_on_while_others_arrive() -> None:
    """p + k - 2 steps of n/k elements instead of p - 1 of n."""
    steps = list(made("broadcast", "chain", ranks=10, elements=600, segments=6).steps())
    assert len(steps) == 14
    assert {int(length) for step in steps for length in step.end - step.begin} == {100}


@pytest.mark.timing
def test_what_is_not_judged_takes_as_long() -> None:
    network = load_machine("sunway_taihulight").network
    topology = Topology(network, nodes=24)
    judged, not_judged = (
        run(
            collective("broadcast", "scatter_doubling", topology=topology, elements=10**6),
            topology=topology,
            protocol=Protocol.of(network),
            reduction=ReductionCost.of(network),
            start=np.zeros(24),
            item_bytes=1,
            judge=judge,
        )
        for judge in (True, False)
    )
    assert not_judged.finish.tolist() == judged.finish.tolist()
    assert not_judged.contention == "approximated"


def test_renumbering_deals_supernodes_in_turn() -> None:
    topology: Topology = Groups(10, 4)  # type: ignore[assignment]
    assert renumbered(topology).tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]


@pytest.mark.parametrize(
    ("ranks", "size", "name"),
    [
        (1024, 12287, "binomial_tree"),
        (7, 10**8, "binomial_tree"),
        (8, 12288, "scatter_doubling"),
        (12, 12288, "scatter_ring"),
        (1024, 524287, "scatter_doubling"),
        (1024, 524288, "scatter_ring"),
    ],
)
def test_the_librarys_own_broadcasts(ranks: int, size: int, name: str) -> None:
    assert broadcast_algorithm(ranks=ranks, size=size) == name


@pytest.mark.parametrize("word", ["allreduce", "all-reduce", "all_reduce", "AllReduce", "ALLREDUCE"])
def test_an_operation_may_be_written_in_several_ways(word: str) -> None:
    assert operation_name(word) == "allreduce"


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput) as caught:
        operation_name("reducescater")
    assert caught.value.problems[0].nearest == "reduce_scatter"
    with pytest.raises(BadInput, match="an algorithm of allgather") as caught:
        made("allgather", "doublin", ranks=4, elements=4)
    assert caught.value.problems[0].nearest == "doubling"


@pytest.mark.parametrize(("operation", "name"), [pair for pair in PAIRS if pair[1] in LINEAR])
def test_one_step_per_rank_has_a_limit(operation: str, name: str) -> None:
    assert made(operation, name, ranks=RING_LIMIT, elements=RING_LIMIT).ranks == RING_LIMIT
    with pytest.raises(BadInput, match="at most 4,096 ranks"):
        made(operation, name, ranks=RING_LIMIT + 1, elements=RING_LIMIT + 1)


def test_all_to_all_shares_equally() -> None:
    with pytest.raises(BadInput, match="a multiple of the 4 ranks"):
        made("alltoall", "pairwise", ranks=4, elements=10)


@pytest.mark.timing
def test_switches_that_add_let_each_rank_send_and_get_a_message_once() -> None:
    """All wait for the last; 1 MB both ways on every node's link, and once out of each supernode and into it."""
    network = load_machine("sunway_taihulight", ["network.topology.supernode_nodes=16"]).network
    topology = Topology(network, nodes=40)
    start = np.zeros(40)
    start[7] = 1e-3
    found = run(
        collective("allreduce", "in_network", topology=topology, elements=10**6),
        topology=topology,
        protocol=Protocol.of(network),
        reduction=ReductionCost.of(network),
        start=start,
        item_bytes=1,
    )
    np.testing.assert_allclose(found.finish, 1e-3 + 28.9e-6 + 1e-6 + 2e6 / 10.56e9, rtol=1e-12)
    used = {load.kind: load.bytes for load in found.links.busiest_of_each_kind()}
    assert used["node both ways"] == 2 * 10**6
    assert found.reduce_seconds == 0.0
    values = np.random.default_rng(0).standard_normal((40, 5))
    schedule = collective("allreduce", "in_network", topology=topology, elements=5)
    inside = [values[first : first + 16].sum(axis=0) for first in (0, 16, 32)]
    np.testing.assert_allclose(execute(schedule, values), np.broadcast_to(sum(inside), values.shape), rtol=1e-13)
    with pytest.raises(ValueError, match="no message between two ranks"):
        simulate(
            collective("allreduce", "in_network", topology=Topology(network, 4, contention=False), elements=5),
            topology=Topology(network, 4, contention=False),
            protocol=Protocol.of(network),
            reduction=ReductionCost.of(network),
            start=np.zeros(4),
            item_bytes=8,
        )
