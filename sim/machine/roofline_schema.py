"""The keys of ``processor`` and ``power`` of a machine whose nodes have roofline devices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sim.machine.leaf import Leaf, Section
from sim.machine.quantity import (
    Bytes,
    BytesPerSecond,
    Count,
    CountOrZero,
    Factor,
    FlopsPerSecond,
    Hertz,
    Portion,
    SecondsOrZero,
    Watts,
    WattsOrZero,
)
from sim.machine.site_schema import SitePowerKeys


class EfficiencyKeys(Section):
    """``processor.efficiency``: shares of the peaks."""

    convolution: Leaf[Portion]
    fully_connected: Leaf[Portion]
    others: Leaf[Portion]
    memory: Leaf[Portion]


class PassesKeys(Section):
    """``processor.passes``: how often the framework's kernels go over arrays as large as a layer's output."""

    batch_norm_forward: Leaf[Count]
    batch_norm_backward: Leaf[Count]
    batch_norm_kernels: Leaf[Count]
    local_response_forward: Leaf[Count]
    local_response_backward: Leaf[Count]
    bias_forward: Leaf[CountOrZero]
    bias_backward: Leaf[CountOrZero]


class DeviceMemoryKeys(Section):
    """``processor.memory`` of one device."""

    capacity: Leaf[Bytes]
    bandwidth: Leaf[BytesPerSecond]


class HostKeys(Section):
    """``processor.host``."""

    cores: Leaf[Count]
    clock: Leaf[Hertz]
    instructions_per_cycle: Leaf[Factor]
    device_bandwidth: Leaf[BytesPerSecond]


class RooflineKeys(Section):
    """``processor`` of kind roofline: one device, of which a node has ``devices``."""

    kind: Literal["roofline"]
    name: str = Field(min_length=1)
    devices: Leaf[Count]
    cores: Leaf[Count]
    peak_fp64: Leaf[FlopsPerSecond]
    peak_fp32: Leaf[FlopsPerSecond]
    launch: Leaf[SecondsOrZero]
    memory: DeviceMemoryKeys
    efficiency: EfficiencyKeys
    passes: PassesKeys
    host: HostKeys


class RooflinePowerKeys(SitePowerKeys):
    """``power`` of kind roofline. Watts of a node, of ``device_...`` of one device."""

    kind: Literal["roofline"]
    device_idle: Leaf[Watts]
    device_busy: Leaf[Watts]
    host_idle: Leaf[Watts]
    host_core_busy: Leaf[WattsOrZero]
