"""Paths of messages through networks of every kind, walked link by link."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.machine.load import load_machine
from sim.machine.network_spec import DragonflySpec, FatTreeSpec, TorusSpec, TwoLevelTreeSpec
from sim.network.fabrics.build import build_fabric
from sim.network.fabrics.dragonfly import Dragonfly
from sim.network.fabrics.fat_tree import FatTree
from sim.network.fabrics.torus import Torus
from sim.network.fabrics.two_level_tree import TwoLevelTree
from sim.network.topology import Topology
from tests.sim.network.networks import SMALL, small

pytestmark = pytest.mark.timing

NODES = 64
pairs = st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1))
networks = st.sampled_from(sorted(SMALL))


def names(network: str, source: int, destination: int) -> list[str]:
    """The links of one message, in the order in which the fabric lists them."""
    fabric = build_fabric(SMALL[network], nodes=NODES)
    crossings = fabric.paths(np.array([source]), np.array([destination])).crossings
    return [fabric.kinds[each.kind].name(int(each.link[0])) for each in crossings if len(each.link)]


@settings(max_examples=30, deadline=None)
@given(network=networks, seed=st.integers(0, 2**32 - 1), count=st.integers(1, 100))
def test_many_messages_take_the_paths_they_take_alone(network: str, seed: int, count: int) -> None:
    fabric = build_fabric(SMALL[network], nodes=NODES)
    random = np.random.default_rng(seed)
    source, destination = random.integers(0, NODES, (2, count))
    together = fabric.paths(source, destination)
    for message in range(count):
        alone = fabric.paths(source[message : message + 1], destination[message : message + 1])
        crossed = []
        for each in together.crossings:
            numbers = range(count) if each.message is None else each.message.tolist()
            assert len(set(numbers)) == len(each.link)
            crossed += [(each.kind, int(link)) for link, of in zip(each.link, numbers, strict=True) if of == message]
        assert sorted(crossed) == sorted((each.kind, int(link)) for each in alone.crossings for link in each.link)
        assert len(set(crossed)) == len(crossed)
        assert all(0 <= link < fabric.kinds[kind].count for kind, link in crossed)
        assert together.seconds[message] == alone.seconds[0]
        assert (source[message] != destination[message]) or (not crossed and alone.seconds[0] == 0)


@settings(max_examples=40, deadline=None)
@given(pair=pairs)
def test_tree_of_supernodes(pair: tuple[int, int]) -> None:
    """Up to the switch that the destination's number names, and down from the same one."""
    source, destination = pair
    spec = SMALL["tree of 16"]
    assert isinstance(spec, TwoLevelTreeSpec)
    if source // 16 == destination // 16:
        assert names("tree of 16", source, destination) == []
        return
    port = destination % 4
    switch = f"central switch {port % 2}, link {port // 2}"
    assert names("tree of 16", source, destination) == [
        f"supernode {source // 16} up to {switch}",
        f"supernode {destination // 16} down from {switch}",
    ]
    (seconds,) = TwoLevelTree(spec, nodes=NODES).paths(np.array([source]), np.array([destination])).seconds
    assert seconds == 1e-6


@settings(max_examples=40, deadline=None)
@given(pair=pairs)
def test_fat_tree_climbs_no_higher_than_it_must(pair: tuple[int, int]) -> None:
    """Switches of 4 nodes, 4 of them in a subtree of 16; half, then a quarter of the links go up."""
    source, destination = pair
    levels = 0 if source // 4 == destination // 4 else 1 if source // 16 == destination // 16 else 2
    expected = []
    for level, (nodes, links) in enumerate([(4, 2), (16, 4)][:levels], start=1):
        port = destination % links
        expected.append(f"subtree {source // nodes} of level {level} up, link {port}")
        expected.append(f"subtree {destination // nodes} of level {level} down, link {port}")
    assert names("fat tree", source, destination) == expected
    spec = SMALL["fat tree"]
    assert isinstance(spec, FatTreeSpec)
    (seconds,) = FatTree(spec, nodes=NODES).paths(np.array([source]), np.array([destination])).seconds
    assert seconds == pytest.approx(levels * 5e-7)


@settings(max_examples=40, deadline=None)
@given(pair=pairs)
def test_torus_walks_one_dimension_after_the_other(pair: tuple[int, int]) -> None:
    """From node to node along 4 x 2 x 8, each ring the shorter way; arrives after as many hops as lie between."""
    spec = SMALL["torus"]
    assert isinstance(spec, TorusSpec)
    source, destination = pair
    fabric = Torus(spec)
    paths = fabric.paths(np.array([source]), np.array([destination]))
    here, axes = source, []
    strides = (1, 4, 8)
    for crossing in paths.crossings:
        for link in crossing.link.tolist():
            axis, way = crossing.kind // 2, 1 if crossing.kind % 2 == 0 else -1
            assert link == here
            place = here // strides[axis] % spec.dimensions[axis]
            here += ((place + way) % spec.dimensions[axis] - place) * strides[axis]
            axes.append(axis)
    assert here == destination
    assert axes == sorted(axes)
    between = 0
    for stride, length in zip(strides, spec.dimensions, strict=True):
        apart = abs(source // stride % length - destination // stride % length)
        between += min(apart, length - apart)
    assert len(axes) == between
    assert paths.seconds[0] == pytest.approx(between * 2e-7)


@settings(max_examples=40, deadline=None)
@given(pair=pairs, nodes=st.sampled_from([8, 20, 64]))
def test_dragonfly_goes_at_most_local_global_local(pair: tuple[int, int], nodes: int) -> None:
    """Every global link leads to the router from which the way back would leave."""
    spec = SMALL["dragonfly"]
    assert isinstance(spec, DragonflySpec)
    source, destination = (number % nodes for number in pair)
    fabric = Dragonfly(spec, nodes=nodes)
    paths = fabric.paths(np.array([source]), np.array([destination]))
    links = [(each.kind, int(link)) for each in paths.crossings for link in each.link]
    locals_, globals_ = [link for kind, link in links if kind == 0], [link for kind, link in links if kind == 1]
    assert len(globals_) == (source // 8 != destination // 8)
    router, goal = source // 2, destination // 2
    ways = {link // 4: link % 4 for link in locals_}
    if globals_:
        group, port = divmod(globals_[0], 8)
        assert group == source // 8
        leaving = group * 4 + port // 2
        if leaving != router:
            assert ways.pop(router) == leaving % 4
        into = destination // 8
        others = fabric.groups - 1
        assert (group + 1 + port % others) % fabric.groups == into
        # the port of the other group that leads back the same way
        back = (group - into - 1) % fabric.groups + port // others * others
        router = into * 4 + back // 2
    if router != goal:
        assert ways.pop(router) == goal % 4
    assert not ways
    assert paths.seconds[0] == pytest.approx(len(links) * 3e-7)


@settings(max_examples=40, deadline=None)
@given(network=networks, ranks_per_node=st.sampled_from([1, 3]), seed=st.integers(0, 2**32 - 1))
def test_no_link_of_any_network_is_overfull(network: str, ranks_per_node: int, seed: int) -> None:
    topology = Topology(small(network), NODES, ranks_per_node)
    random = np.random.default_rng(seed)
    source, destination = random.permutation(topology.ranks), random.permutation(topology.ranks)
    routes = topology.routes(source, destination)
    carried = [np.zeros(kind.count) for kind in topology.kinds]
    for crossing in topology.crossings(source, destination):
        rate = routes.rate if crossing.message is None else routes.rate[crossing.message]
        np.add.at(carried[crossing.kind], crossing.link, rate)
    for kind, total in zip(topology.kinds, carried, strict=True):
        assert (total <= kind.bytes_per_second * (1 + 1e-12)).all()


@pytest.mark.parametrize("machine", ["taihulight_fat_tree", "taihulight_torus", "taihulight_dragonfly"])
def test_the_far_end_of_the_shipped_networks(machine: str) -> None:
    """The whole machine has room, and its last node is reached from the first."""
    network = load_machine(machine).network
    topology = Topology(network, network.nodes)
    routes = topology.routes(np.array([0]), np.array([network.nodes - 1]))
    assert routes.rate[0] == 5.95e9
    assert 1e-7 <= routes.hop_seconds[0] <= 5e-6
