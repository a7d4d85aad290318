"""From the keys about storage, power and faults to their descriptions."""

from __future__ import annotations

from sim.machine.site_schema import FaultsKeys, PowerKeys, SitePowerKeys, StorageKeys
from sim.machine.site_spec import FaultsSpec, PowerSpec, StorageSpec


def storage_spec(keys: StorageKeys) -> StorageSpec:
    """The description of a file system."""
    return StorageSpec(
        bytes=keys.capacity.value,
        bytes_per_second=keys.bandwidth.value,
        arrays=keys.arrays.value,
        drives_per_array=keys.drives_per_array.value,
        drive_latency_seconds=keys.drive_latency.value,
        forwarding_nodes=keys.forwarding_nodes.value,
        forwarding_bytes_per_second=keys.forwarding_bandwidth.value,
        process_bytes_per_second=keys.process_bandwidth.value,
        metadata_servers=keys.metadata_servers.value,
        open_seconds=keys.open_time.value,
    )


def site_power(keys: SitePowerKeys) -> dict[str, float]:
    """What the descriptions of power have in common, by its field of :class:`SitePowerSpec`."""
    return {
        "interface_static_watts": keys.interface_static.value,
        "interface_transfer_watts": keys.interface_transfer.value,
        "switch_static_watts": keys.switch_static.value,
        "switch_transfer_watts": keys.switch_transfer.value,
        "conversion": keys.conversion.value,
        "storage_watts": keys.storage.value,
    }


def power_spec(keys: PowerKeys) -> PowerSpec:
    """The description of power by component."""
    return PowerSpec(
        chip_static_watts=keys.chip_static.value,
        cpe_compute_watts=keys.cpe_compute.value,
        cpe_wait_watts=keys.cpe_wait.value,
        mpe_watts=keys.mpe.value,
        chip_transfer_watts=keys.chip_transfer.value,
        memory_static_watts=keys.memory_static.value,
        memory_transfer_watts=keys.memory_transfer.value,
        **site_power(keys),
    )


def faults_spec(keys: FaultsKeys) -> FaultsSpec:
    """The description of failures."""
    return FaultsSpec(
        node_mtbf_seconds=keys.node_mtbf.value,
        link_mtbf_seconds=keys.link_mtbf.value,
        restart_seconds=keys.restart.value,
    )
