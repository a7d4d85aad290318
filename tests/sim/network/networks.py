"""Small networks of every kind, and schedules drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sim.machine.load import load_machine
from sim.machine.network_spec import (
    DragonflySpec,
    FatTreeSpec,
    NetworkSpec,
    SingleSwitchSpec,
    TopologySpec,
    TorusSpec,
    TwoLevelTreeSpec,
)
from sim.network.protocol import Protocol
from sim.network.schedule import Schedule, Step

SMALL: dict[str, TopologySpec] = {
    "tree of 16": TwoLevelTreeSpec(
        supernode_nodes=16,
        central_switches=2,
        links_per_switch=2,
        uplink_bytes_per_second=6.47e9,
        hop_latency_seconds=1e-6,
    ),
    "slow tree of 7": TwoLevelTreeSpec(
        supernode_nodes=7, central_switches=3, links_per_switch=1, uplink_bytes_per_second=1e9, hop_latency_seconds=3e-6
    ),
    "fat tree": FatTreeSpec(
        levels=3,
        switch_nodes=4,
        switch_fanout=4,
        taper=2.0,
        uplink_bytes_per_second=6e9,
        hop_latency_seconds=5e-7,
    ),
    "torus": TorusSpec(dimensions=(4, 2, 8), link_bytes_per_second=5e9, hop_latency_seconds=2e-7),
    "ring of nodes": TorusSpec(dimensions=(64,), link_bytes_per_second=7e9, hop_latency_seconds=1e-7),
    "dragonfly": DragonflySpec(
        router_nodes=2,
        group_routers=4,
        router_global_links=2,
        local_bytes_per_second=5e9,
        global_bytes_per_second=4e9,
        hop_latency_seconds=3e-7,
    ),
    "single switch": SingleSwitchSpec(),
}


SIMPLE = Protocol(eager_limit_bytes=4096, eager_latency_seconds=4.3e-6, rendezvous_latency_seconds=33e-6)


@cache
def taihulight(*settings: str) -> NetworkSpec:
    """The machine's own network, changed by settings such as ``topology.supernode_nodes=8``."""
    return load_machine("sunway_taihulight", [f"network.{each}" for each in settings]).network


def small(name: str) -> NetworkSpec:
    """A network of up to 64 nodes."""
    return replace(taihulight(), nodes=64, topology=SMALL[name])


def random_schedule(*, ranks: int, elements: int, steps: int, seed: int) -> Schedule:
    """Steps of random messages: at most one out of and into each rank, of any part of the elements, some empty."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(steps):
        count = int(random.integers(1, ranks + 1))
        source, destination = random.permutation(ranks)[:count], random.permutation(ranks)[:count]
        going = source != destination
        ends = np.sort(random.integers(0, elements + 1, (2, count)), axis=0)
        made.append(_step(source[going], destination[going], ends[:, going], number, bool(random.integers(2))))
    made = [step for step in made if len(step.source)]

    def each() -> Iterator[Step]:
        return iter(made)

    return Schedule(name=f"random {seed}", ranks=ranks, elements=elements, steps=each)


def _step(
    source: NDArray[np.int64], destination: NDArray[np.int64], ends: NDArray[np.int64], number: int, reduce: bool
) -> Step:
    return Step(source, destination, ends[0], ends[1], reduce, number)
