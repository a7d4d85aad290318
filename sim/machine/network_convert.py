"""From the keys of ``network`` and ``noise`` to their descriptions."""

from __future__ import annotations

from sim.machine.network_schema import (
    DragonflyKeys,
    FatTreeKeys,
    NetworkKeys,
    NoiseKeys,
    SingleSwitchKeys,
    TopologyKeys,
    TorusKeys,
    TwoLevelTreeKeys,
)
from sim.machine.network_spec import (
    DragonflySpec,
    FatTreeSpec,
    LinkSpec,
    NetworkSpec,
    NoiseSpec,
    ProtocolSpec,
    ReductionSpec,
    SharedMemorySpec,
    SingleSwitchSpec,
    TopologySpec,
    TorusSpec,
    TwoLevelTreeSpec,
)


def network_spec(keys: NetworkKeys) -> NetworkSpec:
    """The description of a network, in base units."""
    return NetworkSpec(
        nodes=keys.nodes.value,
        topology=_topology(keys.topology),
        link=LinkSpec(
            node_bytes_per_second=keys.link.node_bandwidth.value,
            node_duplex_bytes_per_second=keys.link.node_duplex_bandwidth.value,
        ),
        protocol=ProtocolSpec(
            eager_limit_bytes=keys.protocol.eager_limit.value,
            eager_latency_seconds=keys.protocol.eager_latency.value,
            rendezvous_latency_seconds=keys.protocol.rendezvous_latency.value,
        ),
        shared_memory=SharedMemorySpec(
            bytes_per_second=keys.shared_memory.bandwidth.value, latency_seconds=keys.shared_memory.latency.value
        ),
        reduction=ReductionSpec(reduce_seconds_per_byte=keys.reduction.reduce_time.value),
    )


def noise_spec(keys: NoiseKeys) -> NoiseSpec:
    """The description of what disturbs, in base units."""
    return NoiseSpec(
        compute_jitter=keys.compute_jitter.value,
        system_period_seconds=keys.system_period.value,
        system_duration_seconds=keys.system_duration.value,
        system_distribution=keys.system_distribution,
        slow_nodes=keys.slow_nodes.value,
        slow_node_factor=keys.slow_node_factor.value,
        slow_links=keys.slow_links.value,
        slow_link_factor=keys.slow_link_factor.value,
    )


def _topology(keys: TopologyKeys) -> TopologySpec:
    match keys:
        case TwoLevelTreeKeys():
            return TwoLevelTreeSpec(
                supernode_nodes=keys.supernode_nodes.value,
                central_switches=keys.central_switches.value,
                links_per_switch=keys.links_per_switch.value,
                uplink_bytes_per_second=keys.uplink_bandwidth.value,
                hop_latency_seconds=keys.hop_latency.value,
            )
        case FatTreeKeys():
            return FatTreeSpec(
                levels=keys.levels.value,
                switch_nodes=keys.switch_nodes.value,
                switch_fanout=keys.switch_fanout.value,
                taper=keys.taper.value,
                uplink_bytes_per_second=keys.uplink_bandwidth.value,
                hop_latency_seconds=keys.hop_latency.value,
            )
        case TorusKeys():
            return TorusSpec(
                dimensions=keys.dimensions.value,
                link_bytes_per_second=keys.link_bandwidth.value,
                hop_latency_seconds=keys.hop_latency.value,
            )
        case DragonflyKeys():
            return DragonflySpec(
                router_nodes=keys.router_nodes.value,
                group_routers=keys.group_routers.value,
                router_global_links=keys.router_global_links.value,
                local_bytes_per_second=keys.local_bandwidth.value,
                global_bytes_per_second=keys.global_bandwidth.value,
                hop_latency_seconds=keys.hop_latency.value,
            )
        case SingleSwitchKeys():
            return SingleSwitchSpec()
