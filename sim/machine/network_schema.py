"""The keys of ``network`` and ``noise`` in a machine file."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sim.machine.leaf import Leaf, Section
from sim.machine.quantity import (
    BytesOrZero,
    BytesPerSecond,
    Count,
    CountOrZero,
    Factor,
    Lengths,
    Seconds,
    SecondsOrZero,
    SecondsPerByteOrZero,
    Share,
)


class TwoLevelTreeKeys(Section):
    """``network.topology`` of kind two_level_tree: supernodes of full bisection below central switches."""

    kind: Literal["two_level_tree"]
    supernode_nodes: Leaf[Count]
    central_switches: Leaf[Count]
    links_per_switch: Leaf[Count]
    uplink_bandwidth: Leaf[BytesPerSecond]
    hop_latency: Leaf[SecondsOrZero]


class FatTreeKeys(Section):
    """``network.topology`` of kind fat_tree: ``levels`` of switches, each level tapered."""

    kind: Literal["fat_tree"]
    levels: Leaf[Count]
    switch_nodes: Leaf[Count]
    switch_fanout: Leaf[Count]
    taper: Leaf[Factor]
    uplink_bandwidth: Leaf[BytesPerSecond]
    hop_latency: Leaf[SecondsOrZero]


class TorusKeys(Section):
    """``network.topology`` of kind torus: rings of nodes in every dimension."""

    kind: Literal["torus"]
    dimensions: Leaf[Lengths]
    link_bandwidth: Leaf[BytesPerSecond]
    hop_latency: Leaf[SecondsOrZero]


class DragonflyKeys(Section):
    """``network.topology`` of kind dragonfly: groups of routers, all joined inside and between groups."""

    kind: Literal["dragonfly"]
    router_nodes: Leaf[Count]
    group_routers: Leaf[Count]
    router_global_links: Leaf[Count]
    local_bandwidth: Leaf[BytesPerSecond]
    global_bandwidth: Leaf[BytesPerSecond]
    hop_latency: Leaf[SecondsOrZero]


class SingleSwitchKeys(Section):
    """``network.topology`` of kind single_switch: all nodes on one switch of full bisection."""

    kind: Literal["single_switch"]


TopologyKeys: TypeAlias = Annotated[
    TwoLevelTreeKeys | FatTreeKeys | TorusKeys | DragonflyKeys | SingleSwitchKeys, Field(discriminator="kind")
]


class LinkKeys(Section):
    """``network.link``."""

    node_bandwidth: Leaf[BytesPerSecond]
    node_duplex_bandwidth: Leaf[BytesPerSecond]


class ProtocolKeys(Section):
    """``network.protocol``."""

    eager_limit: Leaf[BytesOrZero]
    eager_latency: Leaf[SecondsOrZero]
    eager_send_time: Leaf[SecondsOrZero]
    eager_send_byte_time: Leaf[SecondsPerByteOrZero]
    eager_receive_time: Leaf[SecondsOrZero]
    eager_receive_byte_time: Leaf[SecondsPerByteOrZero]
    rendezvous_send_time: Leaf[SecondsOrZero]
    rendezvous_receive_time: Leaf[SecondsOrZero]
    rendezvous_gap: Leaf[SecondsOrZero]
    blob_message_time: Leaf[SecondsOrZero]
    blob_copy_limit: Leaf[BytesOrZero]


class SharedMemoryKeys(Section):
    """``network.shared_memory``."""

    bandwidth: Leaf[BytesPerSecond]
    latency: Leaf[SecondsOrZero]


class ReductionKeys(Section):
    """``network.reduction``."""

    core_group_extra_time: Leaf[SecondsPerByteOrZero]
    mpe_scalar_time: Leaf[SecondsPerByteOrZero]
    mpe_simd_time: Leaf[SecondsPerByteOrZero]


class NetworkKeys(Section):
    """``network``."""

    nodes: Leaf[Count]
    topology: TopologyKeys
    link: LinkKeys
    protocol: ProtocolKeys
    shared_memory: SharedMemoryKeys
    reduction: ReductionKeys


class NoiseKeys(Section):
    """``noise``: what makes equal ranks unequal."""

    compute_jitter: Leaf[Share]
    system_period: Leaf[Seconds]
    system_duration: Leaf[SecondsOrZero]
    system_distribution: Literal["fixed", "exponential"]
    slow_nodes: Leaf[CountOrZero]
    slow_node_factor: Leaf[Factor]
    slow_links: Leaf[CountOrZero]
    slow_link_factor: Leaf[Factor]
