"""From the keys of ``network`` and ``noise`` to their descriptions."""

from __future__ import annotations

from sim.machine.network_schema import (
    DragonflyKeys,
    FatTreeKeys,
    NetworkKeys,
    NoiseKeys,
    ProtocolKeys,
    ReductionKeys,
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
from sim.machine.roofline_spec import RooflineSpec
from sim.machine.spec import ProcessorSpec

STREAMS = 3
"""An addition gets own and received numbers and puts their sums."""


def network_spec(keys: NetworkKeys, *, computing: ProcessorSpec | RooflineSpec) -> NetworkSpec:
    """The description of a network whose nodes have ``computing``, in base units."""
    return NetworkSpec(
        nodes=keys.nodes.value,
        topology=topology_spec(keys.topology),
        link=LinkSpec(
            node_bytes_per_second=keys.link.node_bandwidth.value,
            node_duplex_bytes_per_second=keys.link.node_duplex_bandwidth.value,
        ),
        protocol=_protocol(keys.protocol),
        shared_memory=SharedMemorySpec(
            bytes_per_second=keys.shared_memory.bandwidth.value, latency_seconds=keys.shared_memory.latency.value
        ),
        reduction=_reduction(keys.reduction, computing),
    )


def _protocol(keys: ProtocolKeys) -> ProtocolSpec:
    return ProtocolSpec(
        eager_limit_bytes=keys.eager_limit.value,
        eager_latency_seconds=keys.eager_latency.value,
        eager_send_seconds=keys.eager_send_time.value,
        eager_send_seconds_per_byte=keys.eager_send_byte_time.value,
        eager_receive_seconds=keys.eager_receive_time.value,
        eager_receive_seconds_per_byte=keys.eager_receive_byte_time.value,
        rendezvous_send_seconds=keys.rendezvous_send_time.value,
        rendezvous_receive_seconds=keys.rendezvous_receive_time.value,
        rendezvous_gap_seconds=keys.rendezvous_gap.value,
        blob_message_seconds=keys.blob_message_time.value,
        blob_copy_limit_bytes=keys.blob_copy_limit.value,
    )


def _reduction(keys: ReductionKeys, computing: ProcessorSpec | RooflineSpec) -> ReductionSpec:
    """The streams of an addition go at the rate of the DMA engine's lines, or of a device's memory.

    Core groups, or devices, share the work equally.
    """
    if isinstance(computing, RooflineSpec):
        streaming = STREAMS / (computing.efficiency.memory * computing.memory_bytes_per_second)
        launch = computing.launch_seconds
    else:
        streaming = STREAMS * computing.dma.line_seconds / computing.dma.line_bytes
        launch = computing.mpe.launch_seconds
    core_group = streaming + keys.core_group_extra_time.value
    return ReductionSpec(
        mpe_scalar_seconds_per_byte=keys.mpe_scalar_time.value,
        mpe_simd_seconds_per_byte=keys.mpe_simd_time.value,
        core_group_seconds_per_byte=core_group,
        chip_seconds_per_byte=core_group / computing.compute_units,
        launch_seconds=launch,
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


def topology_spec(keys: TopologyKeys) -> TopologySpec:
    """The description of what lies between the nodes, in base units."""
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
