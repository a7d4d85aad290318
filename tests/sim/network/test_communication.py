"""Gradients over ranks by a library's scheme: order, readiness, what is remembered."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from sim.machine.load import load_machine
from sim.machine.network_spec import NetworkSpec
from sim.network.choices import GENERATIONS, Choices
from sim.network.collectives import collective
from sim.network.communication import Communicator, Part
from sim.network.ranks import run
from sim.network.schemes import scheme
from sim.network.topology import Topology
from sim.problems import BadInput


@cache
def network() -> NetworkSpec:
    return load_machine("sunway_taihulight", ["network.topology.supernode_nodes=16"]).network


def communicator(name: str, *, nodes: int = 24, remember: bool = True, changed: Choices | None = None) -> Communicator:
    chosen = scheme(name, network=network(), changed=changed)
    return Communicator(topology=Topology(network(), nodes), scheme=chosen, item_bytes=4, remember=remember)


def parts(*elements: int, ready: float = 0.5, apart: float = 0.0) -> list[Part]:
    return [
        Part(elements=count, ready_seconds=ready + number * apart, returned=count != 77)
        for number, count in enumerate(elements)
    ]


SIZES = (64, 4096, 77, 64, 500_000, 64, 77, 500_000, 64, 4096, 1, 1)


@pytest.mark.timing
@pytest.mark.parametrize("name", list(GENERATIONS))
@pytest.mark.parametrize("spread", [0.0, 1e-3])
@pytest.mark.parametrize("apart", [0.0, 2e-4])
def test_what_is_remembered_is_what_it_was_to_the_bit(name: str, spread: float, apart: float) -> None:
    start = np.random.default_rng(3).random(24) * spread
    fast, slow = communicator(name), communicator(name, remember=False)
    sent = parts(*SIZES, apart=apart)
    first, again = (fast.communicate(sent, start=start) for _ in range(2))
    plain = slow.communicate(sent, start=start)
    for found in (first, again):
        assert found.finish.tolist() == plain.finish.tolist()
        assert (found.bytes, found.messages, found.busy_seconds) == (plain.bytes, plain.messages, plain.busy_seconds)


@pytest.mark.timing
@pytest.mark.parametrize("nodes", [2, 8, 24, 32])
def test_reduce_and_broadcast_of_each_blob_follow_one_another(nodes: int) -> None:
    """As the two collectives do, run one by one; only the first blob waits for its gradients."""
    found = communicator("swcaffe-2018", nodes=nodes).communicate(parts(640, 96_000, 77), start=np.zeros(nodes))
    chosen, topology = scheme("swcaffe-2018", network=network()), Topology(network(), nodes)
    clocks = np.full(nodes, 0.5)
    for elements, operations in ((640, 2), (96_000, 2), (77, 1)):
        for operation, algorithm in (("reduce", "binomial_tree"), ("broadcast", "mpich"))[:operations]:
            clocks = run(
                collective(operation, algorithm, topology=topology, elements=elements, item_bytes=4),
                topology=topology,
                protocol=chosen.protocol,
                reduction=chosen.reduction,
                start=clocks,
                item_bytes=4,
            ).finish
    np.testing.assert_allclose(found.finish, clocks, rtol=1e-12)


@pytest.mark.timing
def test_two_ranks_by_hand() -> None:
    """One blob of 4 MB up and down: two rendezvous of a blob, two transfers one way, one addition by launched CPEs."""
    sent = parts(1_000_000)
    found = communicator("swcaffe-2018", nodes=2).communicate(sent, start=np.zeros(2))
    latency, transfer = 28.9e-6 + 8e-6, 4e6 / 5.95e9
    adding = 22e-6 + 4e6 * (3 * 4.75 / 128 + 0.175) / 4 * 1e-9
    assert found.finish.max() == pytest.approx(0.5 + 2 * (latency + transfer) + adding, rel=1e-9)
    assert (found.messages, found.bytes) == (2, 8_000_000)
    assert found.latency_seconds + found.transfer_seconds + found.reduce_seconds == pytest.approx(found.busy_seconds)


@pytest.mark.timing
def test_short_blobs_are_copied() -> None:
    """400 KB from a buffer that MPI has not seen: copied before it goes, up and down."""
    found = communicator("swcaffe-2018", nodes=2).communicate(parts(100_000), start=np.zeros(2))
    once = 28.9e-6 + 8e-6 + 4e5 / 5.95e9 + 4e5 * 1.12e-9
    adding = 22e-6 + 4e5 * (3 * 4.75 / 128 + 0.175) / 4 * 1e-9
    assert found.finish.max() == pytest.approx(0.5 + 2 * once + adding, rel=1e-9)


@pytest.mark.timing
def test_parts_wait_for_their_gradients_and_for_the_part_before() -> None:
    alone = communicator("autotuned-2019").communicate(parts(10_000, ready=0.0), start=np.zeros(24))
    apart = communicator("autotuned-2019").communicate(parts(10_000, 10_000, apart=1.0), start=np.zeros(24))
    close = communicator("autotuned-2019").communicate(parts(10_000, 10_000), start=np.zeros(24))
    one = float(alone.finish.max())
    assert apart.finish.max() == pytest.approx(1.5 + one, rel=1e-9)
    assert close.finish.max() == pytest.approx(0.5 + 2 * one, rel=1e-3)
    assert apart.busy_seconds == pytest.approx(2 * one, rel=1e-9)


@pytest.mark.timing
def test_a_late_rank_holds_the_others() -> None:
    start = np.zeros(24)
    start[5] = 0.25
    late = communicator("swcaffe-2018").communicate(parts(64, 64), start=start).finish
    even = communicator("swcaffe-2018").communicate(parts(64, 64), start=np.zeros(24)).finish
    assert float(late.max() - even.max()) == pytest.approx(0.25, rel=1e-3)
    assert late.min() >= 0.75


def test_one_rank_has_nothing_to_send() -> None:
    found = communicator("stock-mpi", nodes=1).communicate(parts(10, 20, apart=1.0), start=np.zeros(1))
    assert (found.finish.tolist(), found.bytes, found.busy_seconds) == ([1.5], 0, 0.0)


@pytest.mark.timing
def test_a_mapping_changes_what_a_library_does() -> None:
    def seconds(changed: Choices) -> float:
        found = communicator("autotuned-2019", changed=changed).communicate(parts(2_400_000), start=np.zeros(24))
        return float(found.finish.max()) - 0.5

    own = seconds(Choices())
    assert seconds(Choices(reduction_by="chip")) < own < seconds(Choices(reduction_by="mpe_simd"))
    assert seconds(Choices(reduction_by="mpe_simd")) < seconds(Choices(reduction_by="mpe_scalar"))
    assert seconds(Choices(reduction_overlap=True)) < own < seconds(Choices(collective="binomial_tree"))
    assert own < seconds(Choices(segment_bytes=65536, in_flight=2)) < seconds(Choices(segment_bytes=65536))


def test_unknown_words_are_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="a communication scheme") as caught:
        scheme("swcafe-2018", network=network())
    assert caught.value.problems[0].nearest == "swcaffe-2018"
    with pytest.raises(BadInput, match="an all-reduce algorithm") as caught:
        scheme("stock-mpi", network=network(), changed=Choices(collective="rong"))
    assert caught.value.problems[0].nearest == "ring"
