"""Energy by component, from what a node did: how long its cores were busy and how many bytes moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.machine.roofline_spec import RooflineSpec
from sim.machine.site_spec import RooflinePowerSpec
from sim.machine.spec import MachineSpec


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What one node did in ``seconds``.

    ``compute_seconds`` and ``wait_seconds`` (polling for data or neighbours, or busy with memory) are means over all
    CPEs of the chip or all devices of the node, ``mpe_seconds`` over its MPEs or host cores. Bytes: moved between
    memory and chip, sent and received by the node's interface, read from or written to storage.
    """

    seconds: float
    compute_seconds: float = 0.0
    wait_seconds: float = 0.0
    mpe_seconds: float = 0.0
    memory_bytes: float = 0.0
    network_bytes: float = 0.0
    storage_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Joules by component.

    ``chip_static``, ``cpe``, ``mpe``, ``dma`` (controllers and pins), ``memory``, ``interface``, ``switches``,
    ``conversion`` (lost on the way to all of these) and ``storage`` (the file system's share, its losses included).
    Nodes with roofline devices have ``devices`` and ``host`` in place of what is in a chip and its memory.
    """

    joules: Mapping[str, float]

    @property
    def total_joules(self) -> float:
        return sum(self.joules.values())

    def watts(self, seconds: float) -> dict[str, float]:
        """Mean power by component over ``seconds``."""
        return {name: joules / seconds for name, joules in self.joules.items()}


def energy(machine: MachineSpec, activity: Activity, *, nodes: int = 1) -> Energy:
    """What ``nodes`` nodes draw that each do the same.

    A part that may be on or off draws its watts while it is on; bytes cost what the full rate costs over the full rate.
    """
    power, link = machine.power, machine.network.link
    sending = activity.network_bytes / link.node_duplex_bytes_per_second
    storing = activity.storage_bytes / machine.storage.bytes_per_second
    parts = _node_parts(machine, activity) | {
        "interface": power.interface_static_watts * activity.seconds + power.interface_transfer_watts * sending,
        "switches": power.switch_static_watts * activity.seconds + power.switch_transfer_watts * sending,
    }
    parts["conversion"] = (power.conversion - 1.0) * sum(parts.values())
    parts["storage"] = power.storage_watts * storing
    return Energy(joules={name: nodes * joules for name, joules in parts.items()})


def _node_parts(machine: MachineSpec, activity: Activity) -> dict[str, float]:
    """Joules of what computes in a node."""
    power, computing = machine.power, machine.computing
    if isinstance(power, RooflinePowerSpec) or isinstance(computing, RooflineSpec):
        return _roofline_parts(machine, activity)
    processor = computing
    cpes = processor.core_groups * processor.cpes_per_core_group
    moving = activity.memory_bytes / (processor.core_groups * processor.memory.bytes_per_second)
    return {
        "chip_static": power.chip_static_watts * activity.seconds,
        "cpe": cpes
        * (power.cpe_compute_watts * activity.compute_seconds + power.cpe_wait_watts * activity.wait_seconds),
        "mpe": processor.core_groups * power.mpe_watts * activity.mpe_seconds,
        "dma": power.chip_transfer_watts * moving,
        "memory": power.memory_static_watts * activity.seconds + power.memory_transfer_watts * moving,
    }


def _roofline_parts(machine: MachineSpec, activity: Activity) -> dict[str, float]:
    """A device is busy while it computes or waits for its memory, and draws then what it may draw at most."""
    power, computing = machine.power, machine.computing
    if not isinstance(power, RooflinePowerSpec) or not isinstance(computing, RooflineSpec):
        raise TypeError("power and processor are of different kinds")
    busy = activity.compute_seconds + activity.wait_seconds
    more = power.device_busy_watts - power.device_idle_watts
    return {
        "devices": computing.devices * (power.device_idle_watts * activity.seconds + more * busy),
        "host": power.host_idle_watts * activity.seconds
        + computing.host.cores * power.host_core_busy_watts * activity.mpe_seconds,
    }


def full_load(machine: MachineSpec) -> Activity:
    """A second in which all of a node is busy: every core computes, memory and link move what they can."""
    computing = machine.computing
    if isinstance(computing, RooflineSpec):
        memory = computing.devices * computing.memory_bytes_per_second
    else:
        memory = computing.core_groups * computing.memory.bytes_per_second
    return Activity(
        seconds=1.0,
        compute_seconds=1.0,
        mpe_seconds=1.0,
        memory_bytes=memory,
        network_bytes=machine.network.link.node_duplex_bytes_per_second,
    )


def full_load_watts(machine: MachineSpec) -> float:
    """Power of one node that is busy in all its parts, its share of the network included."""
    return energy(machine, full_load(machine)).total_joules


def idle_watts(machine: MachineSpec) -> float:
    """Power of one node that does nothing."""
    return energy(machine, Activity(seconds=1.0)).total_joules
