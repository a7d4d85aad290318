"""The keys of a machine file. Every number is a leaf: its value with its unit, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.machine.leaf import Leaf, Section
from sim.machine.network_schema import NetworkKeys, NoiseKeys
from sim.machine.quantity import (
    Bytes,
    BytesOrZero,
    BytesPerSecond,
    Count,
    CountOrZero,
    CyclesOrZero,
    Factor,
    Hertz,
    Seconds,
    SecondsOrZero,
    WholeCycles,
    WholeCyclesOrZero,
)
from sim.machine.roofline_schema import RooflineKeys, RooflinePowerKeys
from sim.machine.site_schema import FaultsKeys, PowerKeys, StorageKeys


class PipelineKeys(Section):
    """``processor.cpe.pipeline``."""

    integer: Leaf[WholeCycles]
    integer_multiply: Leaf[WholeCycles]
    floating: Leaf[WholeCycles]
    divide: Leaf[WholeCycles]
    load: Leaf[WholeCycles]
    vector_load: Leaf[WholeCycles]
    shuffle: Leaf[WholeCycles]
    register_communication_issue: Leaf[WholeCyclesOrZero]
    exponential: Leaf[WholeCycles]
    loop_overhead: Leaf[WholeCyclesOrZero]
    gemm_mesh_step_residual: Leaf[CyclesOrZero]
    swdnn_2016_k_step_residual: Leaf[CyclesOrZero]
    swdnn_2017_k_step_residual: Leaf[CyclesOrZero]
    swcaffe_2018_k_step_residual: Leaf[CyclesOrZero]
    autotuned_2019_k_step_residual: Leaf[CyclesOrZero]


class FixedPointKeys(Section):
    """``processor.cpe.fixed_point``."""

    vector_lanes: Leaf[Count]
    multiply_add_instructions: Leaf[Count]
    int16_widen_instructions: Leaf[CountOrZero]
    int16_narrow_instructions: Leaf[CountOrZero]
    int8_widen_instructions: Leaf[CountOrZero]
    int8_narrow_instructions: Leaf[CountOrZero]


class CpeKeys(Section):
    """``processor.cpe``."""

    ldm: Leaf[Bytes]
    vector_lanes: Leaf[Count]
    fp32_vector_lanes: Leaf[Count]
    flops_per_cycle: Leaf[Count]
    pipeline: PipelineKeys
    fixed_point: FixedPointKeys


class MpeKeys(Section):
    """``processor.mpe``."""

    flops_per_cycle: Leaf[Count]
    launch: Leaf[SecondsOrZero]
    copy_bandwidth: Leaf[BytesPerSecond]


class RemoteAccessKeys(Section):
    """``processor.mesh.remote``, where CPEs reach one another's LDM instead of communicating through registers."""

    buffer: Leaf[Bytes]
    startup: Leaf[WholeCyclesOrZero]


class MeshKeys(Section):
    """``processor.mesh``."""

    rows: Leaf[Count]
    columns: Leaf[Count]
    transfer: Leaf[Bytes]
    fifo_entries: Leaf[Count]
    latency: Leaf[WholeCyclesOrZero]
    sync: Leaf[WholeCyclesOrZero]
    remote: RemoteAccessKeys | None = None


class DmaKeys(Section):
    """``processor.dma``."""

    line: Leaf[Bytes]
    line_time: Leaf[Seconds]
    request_time: Leaf[SecondsOrZero]
    block_time: Leaf[SecondsOrZero]
    partial_put_block: Leaf[BytesOrZero]
    partial_put_block_time: Leaf[SecondsOrZero]
    block_minimum_time: Leaf[SecondsOrZero]
    put_granule: Leaf[Bytes]
    put_line_extra: Leaf[SecondsOrZero]
    put_request_extra: Leaf[SecondsOrZero]
    put_block_extra: Leaf[SecondsOrZero]
    startup: Leaf[WholeCyclesOrZero]
    issue: Leaf[WholeCyclesOrZero]
    pending: Leaf[Count]
    channel_bandwidth: Leaf[BytesPerSecond]
    columns_per_bus: Leaf[Count]
    quarter_bandwidth: Leaf[BytesPerSecond]
    half_bandwidth: Leaf[BytesPerSecond]
    shared_get_factor: Leaf[Factor]
    shared_put_factor: Leaf[Factor]


class MemoryKeys(Section):
    """``processor.memory``."""

    capacity: Leaf[Bytes]
    bandwidth: Leaf[BytesPerSecond]
    alignment: Leaf[Bytes]
    global_load: Leaf[WholeCyclesOrZero]
    global_store: Leaf[WholeCyclesOrZero]


class ProcessorKeys(Section):
    """``processor`` of kind many_core: one chip of core groups."""

    kind: Literal["many_core"]
    name: str = Field(min_length=1)
    clock: Leaf[Hertz]
    core_groups: Leaf[Count]
    group_sync: Leaf[SecondsOrZero]
    cpe: CpeKeys
    mpe: MpeKeys
    mesh: MeshKeys
    dma: DmaKeys
    memory: MemoryKeys


class MachineFile(Section):
    """A whole machine file."""

    title: str = Field(min_length=1)
    processor: Annotated[ProcessorKeys | RooflineKeys, Field(discriminator="kind")]
    network: NetworkKeys
    noise: NoiseKeys
    storage: StorageKeys
    power: Annotated[PowerKeys | RooflinePowerKeys, Field(discriminator="kind")]
    faults: FaultsKeys
