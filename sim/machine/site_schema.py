"""The keys of a machine file about what surrounds the processors: storage, power, faults."""

from __future__ import annotations

from typing import Literal

from sim.machine.leaf import Leaf, Section
from sim.machine.quantity import Bytes, BytesPerSecond, Count, Factor, Seconds, SecondsOrZero, Watts, WattsOrZero


class StorageKeys(Section):
    """``storage``."""

    capacity: Leaf[Bytes]
    bandwidth: Leaf[BytesPerSecond]
    arrays: Leaf[Count]
    drives_per_array: Leaf[Count]
    drive_latency: Leaf[SecondsOrZero]
    forwarding_nodes: Leaf[Count]
    forwarding_bandwidth: Leaf[BytesPerSecond]
    process_bandwidth: Leaf[BytesPerSecond]
    metadata_servers: Leaf[Count]
    open_time: Leaf[SecondsOrZero]


class SitePowerKeys(Section):
    """What ``power`` of either kind says about links, switches, conversion and storage."""

    interface_static: Leaf[WattsOrZero]
    interface_transfer: Leaf[WattsOrZero]
    switch_static: Leaf[WattsOrZero]
    switch_transfer: Leaf[WattsOrZero]
    conversion: Leaf[Factor]
    storage: Leaf[WattsOrZero]


class PowerKeys(SitePowerKeys):
    """``power`` of kind many_core. Watts of a node unless the key says otherwise."""

    kind: Literal["many_core"]
    chip_static: Leaf[Watts]
    cpe_compute: Leaf[WattsOrZero]
    cpe_wait: Leaf[WattsOrZero]
    mpe: Leaf[WattsOrZero]
    chip_transfer: Leaf[WattsOrZero]
    memory_static: Leaf[WattsOrZero]
    memory_transfer: Leaf[WattsOrZero]


class FaultsKeys(Section):
    """``faults``."""

    node_mtbf: Leaf[Seconds]
    link_mtbf: Leaf[Seconds]
    restart: Leaf[SecondsOrZero]
