"""What surrounds the processors, in base units: storage, power, faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StorageSpec:
    """A parallel file system: disk arrays behind forwarding nodes, and servers for the names of files.

    ``bytes_per_second`` is all arrays together. ``process_bytes_per_second`` is what one process gets alone.
    ``open_seconds`` is what a metadata server takes for one open.
    """

    bytes: int
    bytes_per_second: float
    arrays: int
    drives_per_array: int
    drive_latency_seconds: float
    forwarding_nodes: int
    forwarding_bytes_per_second: float
    process_bytes_per_second: float
    metadata_servers: int
    open_seconds: float

    @property
    def array_bytes_per_second(self) -> float:
        """One disk array."""
        return self.bytes_per_second / self.arrays


@dataclass(frozen=True, kw_only=True)
class SitePowerSpec:
    """Electrical power of what nodes of any kind have around them, in watts.

    ``..._transfer_watts``: what moving bytes at the full rate adds, of a node's link both ways. ``switch_...``: a
    node's share of all switches. ``conversion`` is the power drawn over the power that arrives. ``storage_watts``: the
    whole file system.
    """

    interface_static_watts: float
    interface_transfer_watts: float
    switch_static_watts: float
    switch_transfer_watts: float
    conversion: float
    storage_watts: float


@dataclass(frozen=True, kw_only=True)
class PowerSpec(SitePowerSpec):
    """Electrical power of a chip of core groups by component, in watts.

    ``cpe_compute_watts``: a CPE that computes, ``cpe_wait_watts``: one that polls for data or neighbours,
    ``mpe_watts``: a busy MPE, all above the chip's static power. ``..._transfer_watts``: what moving bytes at the full
    rate adds, of all of a node's memory controllers.
    """

    chip_static_watts: float
    cpe_compute_watts: float
    cpe_wait_watts: float
    mpe_watts: float
    chip_transfer_watts: float
    memory_static_watts: float
    memory_transfer_watts: float


@dataclass(frozen=True, kw_only=True)
class RooflinePowerSpec(SitePowerSpec):
    """Electrical power of nodes with roofline devices, in watts.

    Of one device that waits and of one that is busy, of a host that waits and what each busy core of it adds.
    """

    device_idle_watts: float
    device_busy_watts: float
    host_idle_watts: float
    host_core_busy_watts: float


@dataclass(frozen=True, kw_only=True)
class FaultsSpec:
    """Mean times between failures of one node and of one link, and from a failure until a job is started again."""

    node_mtbf_seconds: float
    link_mtbf_seconds: float
    restart_seconds: float
