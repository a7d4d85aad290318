"""Link rates and latencies against values worked out by hand from the machine file."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.machine.load import load_machine
from sim.machine.network_spec import NetworkSpec, TwoLevelTreeSpec
from sim.network.routes import latencies
from sim.network.topology import Topology, shared_bytes
from sim.problems import BadInput
from tests.sim.network.networks import SIMPLE

ONE_WAY = 5.95e9
BOTH_WAYS = 10.56e9
UPLINK = 6.47e9
UPLINKS = 64
MEMORY = 9.9e9
TIGHT = 1e-14


@cache
def network(*settings: str) -> NetworkSpec:
    """The machine's network, its topology changed by settings."""
    return load_machine("sunway_taihulight", [f"network.topology.{each}" for each in settings]).network


def rates(topology: Topology, source: NDArray[np.int64], destination: NDArray[np.int64]) -> NDArray[np.float64]:
    return topology.routes(source, destination).rate


def assert_rates(found: NDArray[np.float64], expected: float | list[float]) -> None:
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=TIGHT, atol=0)


def test_the_numbers_used_here_are_the_machines() -> None:
    spec, tree = network(), network().topology
    assert isinstance(tree, TwoLevelTreeSpec)
    assert (spec.nodes, tree.supernode_nodes, tree.uplinks) == (40960, 256, UPLINKS)
    assert (spec.link.node_bytes_per_second, spec.link.node_duplex_bytes_per_second) == (ONE_WAY, BOTH_WAYS)
    assert (tree.uplink_bytes_per_second, spec.shared_memory.bytes_per_second) == (UPLINK, MEMORY)


@pytest.mark.timing
def test_taper() -> None:
    """All 256 nodes of a supernode send to the next one: 64 uplinks for 256 nodes, 1.6175 GB/s each."""
    place = np.arange(256)
    assert_rates(rates(Topology(network(), nodes=512), place, place + 256), 1.6175e9)


@pytest.mark.timing
@pytest.mark.parametrize(
    ("senders", "expected"),
    [
        (1, ONE_WAY),
        (64, ONE_WAY),  # one uplink each would carry 6.47
        (128, 3.235e9),
        (256, 1.6175e9),
    ],
)
def test_from_where_the_uplinks_are_the_limit(senders: int, expected: float) -> None:
    place = np.arange(senders)
    assert_rates(rates(Topology(network(), nodes=512), place, place + 256), expected)


@pytest.mark.timing
def test_the_destination_decides_which_uplink() -> None:
    """Static routing: nodes 0, 64, 128 and 192 of a supernode are reached over the same link, all others stay free."""
    topology = Topology(network(), nodes=512)
    assert_rates(rates(topology, np.arange(4), 256 + 64 * np.arange(4)), UPLINK / 4)
    # the 65th message shares the first one's link
    place = np.arange(65)
    assert_rates(rates(topology, place, place + 256), [UPLINK / 2, *[ONE_WAY] * 63, UPLINK / 2])


@pytest.mark.timing
def test_uplinks_of_the_receiving_supernode() -> None:
    """128 nodes each of two supernodes send to a third: its own 64 uplinks divide by 256."""
    source = np.concatenate([np.arange(256, 384), np.arange(512, 640)])
    assert_rates(rates(Topology(network(), nodes=768), source, np.arange(256)), 1.6175e9)


@pytest.mark.timing
def test_uplinks_carry_each_direction_by_itself() -> None:
    """Two supernodes exchange: 256 out and 256 in, each over 64 uplinks of 6.47 GB/s each way."""
    place = np.arange(512)
    assert_rates(rates(Topology(network(), nodes=512), place, place ^ 256), 1.6175e9)


@pytest.mark.timing
def test_only_crossing_messages_load_uplinks() -> None:
    """In a ring through two supernodes one message leaves each; every node sends and receives."""
    place = np.arange(512)
    assert_rates(rates(Topology(network(), nodes=512), place, (place + 1) % 512), BOTH_WAYS / 2)


@pytest.mark.timing
def test_full_bisection_inside_a_supernode() -> None:
    place = np.arange(128)
    assert_rates(rates(Topology(network(), nodes=256), place, place + 128), ONE_WAY)


@pytest.mark.timing
def test_both_ways_carry_less_than_twice_one_way() -> None:
    topology = Topology(network(), nodes=4)
    assert_rates(rates(topology, np.array([0]), np.array([1])), ONE_WAY)
    # 0 <-> 1 share 10.56 GB/s, 2 -> 3 is alone
    assert_rates(rates(topology, np.array([0, 1, 2]), np.array([1, 0, 3])), [5.28e9, 5.28e9, ONE_WAY])


@pytest.mark.timing
def test_chain_is_limited_by_its_middle() -> None:
    """0 -> 1 -> 2: node 1 sends and receives, 5.28 GB/s each."""
    topology = Topology(network(), nodes=3)
    assert_rates(rates(topology, np.array([0, 1]), np.array([1, 2])), 5.28e9)


@pytest.mark.timing
def test_ranks_of_a_node_share_its_link() -> None:
    topology = Topology(network(), nodes=3, ranks_per_node=4)
    place = np.arange(4)
    assert_rates(rates(topology, place, place + 4), 1.4875e9)  # 5.95 / 4
    exchange = np.arange(8)
    assert_rates(rates(topology, exchange, exchange ^ 4), 1.32e9)  # 10.56 / 8
    # two nodes send two messages each into one: it takes 5.95 in all
    assert_rates(rates(topology, np.array([4, 5, 8, 9]), place), 1.4875e9)


@pytest.mark.timing
def test_ranks_of_a_node_talk_through_memory() -> None:
    topology = Topology(network(), nodes=2, ranks_per_node=4)
    place = np.arange(8)
    assert_rates(rates(topology, np.array([0]), np.array([1])), MEMORY)
    assert_rates(rates(topology, place, place ^ 1), 2.475e9)  # 9.9 / 4
    # two inside node 0; two out of it; one inside node 1, where the others arrive
    source, destination = np.array([0, 1, 2, 3, 6]), np.array([1, 0, 4, 5, 7])
    routes = topology.routes(source, destination)
    assert_rates(routes.rate, [4.95e9, 4.95e9, 2.975e9, 2.975e9, MEMORY])
    np.testing.assert_array_equal(routes.inside_node, [True, True, False, False, True])


@pytest.mark.timing
def test_latencies() -> None:
    """Eager below 4,096 B, rendezvous from there on, a hop between supernodes, memory inside a node."""
    topology = Topology(network(), nodes=257, ranks_per_node=4)
    source = np.array([0, 0, 0, 0, 0, 0])
    destination = np.array([4, 4, 1024, 1024, 1, 1])
    size = np.array([4095, 4096, 4095, 4096, 8, 10**9])
    software = SIMPLE.latencies(size)
    routes = topology.routes(source, destination)
    found = latencies(routes, software, inside_seconds=topology.memory_latency_seconds)
    np.testing.assert_allclose(found, [4.3e-6, 33e-6, 5.3e-6, 34e-6, 1e-6, 1e-6], rtol=TIGHT, atol=0)


@pytest.mark.timing
@pytest.mark.parametrize(("uplink", "crossing"), [(UPLINK, ONE_WAY), (1e9, 1e9)])
def test_without_contention_every_message_is_alone(uplink: float, crossing: float) -> None:
    spec = network(f"uplink_bandwidth={uplink:.0f} B/s")
    topology = Topology(spec, nodes=512, ranks_per_node=4, contention=False)
    place = np.arange(1024)
    assert_rates(rates(topology, place, place + 1024), crossing)
    assert_rates(rates(topology, place, place ^ 4), ONE_WAY)
    assert_rates(rates(topology, place, place ^ 1), MEMORY)


@pytest.mark.timing
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), nodes=st.integers(2, 40), per_node=st.sampled_from([1, 4]), share=st.floats(0, 1)
)
def test_no_link_carries_more_than_it_can(seed: int, nodes: int, per_node: int, share: float) -> None:
    """Random messages, at most one out of and into each rank: no node, memory or trunk is overfull, none is alone."""
    spec = network("supernode_nodes=8", "central_switches=1")
    topology = Topology(spec, nodes, per_node)
    random = np.random.default_rng(seed)
    count = max(1, round(share * topology.ranks))
    source, destination = random.permutation(topology.ranks)[:count], random.permutation(topology.ranks)[:count]
    source, destination = source[source != destination], destination[source != destination]
    routes = topology.routes(source, destination)
    from_node, to_node = source // per_node, destination // per_node
    inside = from_node == to_node
    crossing = from_node // 8 != to_node // 8
    np.testing.assert_array_equal(routes.inside_node, inside)

    def carried(at: NDArray[np.int64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = np.zeros(nodes)
        np.add.at(total, at[used], routes.rate[used])
        return total

    much = 1 + 1e-12
    out, into = carried(from_node, ~inside), carried(to_node, ~inside)
    assert (routes.rate > 0).all()
    assert out.max() <= ONE_WAY * much
    assert into.max() <= ONE_WAY * much
    assert (out + into).max() <= BOTH_WAYS * much
    assert carried(from_node, inside).max() <= MEMORY * much
    assert carried(from_node // 8, crossing).max() <= 2 * UPLINK * much
    assert carried(to_node // 8, crossing).max() <= 2 * UPLINK * much
    alone = Topology(spec, nodes, per_node, contention=False).routes(source, destination)
    assert (routes.rate <= alone.rate * much).all()


@pytest.mark.parametrize("nodes", [0, 40961])
def test_more_nodes_than_the_machine(nodes: int) -> None:
    with pytest.raises(BadInput, match="1 to 40,960, the nodes of the machine"):
        Topology(network(), nodes=nodes)


def test_ranks_and_supernodes() -> None:
    whole = Topology(network(), nodes=40960, ranks_per_node=4)
    assert (whole.ranks, whole.supernodes, whole.supernode_ranks) == (163840, 160, 1024)
    part = Topology(network(), nodes=257, ranks_per_node=4)
    assert part.supernodes == 2
    assert part.node_of[[0, 3, 4, 1027]].tolist() == [0, 0, 1, 256]


@pytest.mark.timing
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    nodes=st.integers(2, 40),
    per_node=st.sampled_from([1, 4]),
    contention=st.booleans(),
    shift=st.integers(0, 160),
)
def test_routes_of_everyone_are_those_of_the_same_messages(
    seed: int, nodes: int, per_node: int, contention: bool, shift: int
) -> None:
    spec = network("supernode_nodes=8", "central_switches=1")
    topology = Topology(spec, nodes, per_node, contention=contention)
    place = np.arange(topology.ranks)
    random = np.random.default_rng(seed).permutation(topology.ranks)
    for destination in (random, np.roll(place, shift), np.roll(place, shift // per_node * per_node)):
        expected = topology.routes(place, destination)
        found = topology.routes(place, destination, everyone=True)
        for name in ("rate", "hop_seconds", "inside_node"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.timing
def test_short_messages_leave_their_share() -> None:
    """1, 2 and 5 MB leave a node: until the third of 3 MB is through all have a third, and so on."""
    topology = Topology(network(), nodes=4, ranks_per_node=4)
    source, destination = np.arange(3), np.array([4, 8, 12])
    size = np.array([1_000_000, 2_000_000, 5_000_000])
    routes = topology.routes_by_size(source, destination, size)
    np.testing.assert_allclose(size / routes.rate, np.array([3e6, 5e6, 8e6]) / ONE_WAY)
    # where a link is shared by equal messages, or by none, nothing is different
    equal = topology.routes_by_size(source, destination, np.full(3, 1000))
    np.testing.assert_allclose(equal.rate, topology.routes(source, destination).rate)


@pytest.mark.timing
@settings(max_examples=40, deadline=None)
@given(
    links=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_shares_by_size_are_those_of_a_link_served_in_turns(links: int, sizes: list[int], seed: int) -> None:
    """One byte of each message that has some left, then one of each again."""
    link = np.random.default_rng(seed).integers(0, links, len(sizes))
    expected = np.zeros(len(sizes))
    for number in range(links):
        left = {message: sizes[message] for message in np.flatnonzero(link == number).tolist()}
        passed = 0
        while left:
            passed += len(left)
            left = {message: rest - 1 for message, rest in left.items()}
            for message in [message for message, rest in left.items() if not rest]:
                expected[message] = passed
                del left[message]
    np.testing.assert_array_equal(shared_bytes(link, np.array(sizes)), expected)
