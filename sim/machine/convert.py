"""From a validated machine file to the frozen description that the simulator reads."""

from __future__ import annotations

from sim.machine.network_convert import network_spec, noise_spec
from sim.machine.parameter import parameters
from sim.machine.roofline_convert import roofline_power_spec, roofline_spec
from sim.machine.roofline_schema import RooflineKeys, RooflinePowerKeys
from sim.machine.schema import MachineFile, PipelineKeys, ProcessorKeys
from sim.machine.site_convert import faults_spec, power_spec, storage_spec
from sim.machine.spec import (
    CpeSpec,
    DmaSpec,
    FixedPointSpec,
    MachineSpec,
    MemorySpec,
    MeshSpec,
    MpeSpec,
    PipelineSpec,
    ProcessorSpec,
    RemoteAccessSpec,
)


def machine_spec(file: MachineFile, *, name: str) -> MachineSpec:
    """The description of a machine file, in base units."""
    keys, power = file.processor, file.power
    computing = roofline_spec(keys) if isinstance(keys, RooflineKeys) else _processor(keys)
    return MachineSpec(
        name=name,
        title=file.title,
        computing=computing,
        network=network_spec(file.network, computing=computing),
        noise=noise_spec(file.noise),
        storage=storage_spec(file.storage),
        power=roofline_power_spec(power) if isinstance(power, RooflinePowerKeys) else power_spec(power),
        faults=faults_spec(file.faults),
        sources={parameter.key: parameter.source for parameter in parameters(file)},
    )


def _processor(keys: ProcessorKeys) -> ProcessorSpec:
    remote = keys.mesh.remote
    return ProcessorSpec(
        name=keys.name,
        clock_hertz=keys.clock.value,
        core_groups=keys.core_groups.value,
        cpe=CpeSpec(
            ldm_bytes=keys.cpe.ldm.value - (0 if remote is None else remote.buffer.value),
            fp64_vector_lanes=keys.cpe.vector_lanes.value,
            fp32_vector_lanes=keys.cpe.fp32_vector_lanes.value,
            fp64_flops_per_cycle=keys.cpe.flops_per_cycle.value,
            pipeline=_pipeline(keys.cpe.pipeline),
            fixed_point=FixedPointSpec(
                vector_lanes=keys.cpe.fixed_point.vector_lanes.value,
                multiply_add_instructions=keys.cpe.fixed_point.multiply_add_instructions.value,
                int16_widen_instructions=keys.cpe.fixed_point.int16_widen_instructions.value,
                int16_narrow_instructions=keys.cpe.fixed_point.int16_narrow_instructions.value,
                int8_widen_instructions=keys.cpe.fixed_point.int8_widen_instructions.value,
                int8_narrow_instructions=keys.cpe.fixed_point.int8_narrow_instructions.value,
            ),
        ),
        mpe=MpeSpec(
            flops_per_cycle=keys.mpe.flops_per_cycle.value,
            launch_seconds=keys.mpe.launch.value,
            copy_bytes_per_second=keys.mpe.copy_bandwidth.value,
        ),
        mesh=MeshSpec(
            rows=keys.mesh.rows.value,
            columns=keys.mesh.columns.value,
            transfer_bytes=keys.mesh.transfer.value,
            fifo_entries=keys.mesh.fifo_entries.value,
            latency_cycles=keys.mesh.latency.value,
            sync_cycles=keys.mesh.sync.value,
            remote=None
            if remote is None
            else RemoteAccessSpec(buffer_bytes=remote.buffer.value, startup_cycles=remote.startup.value),
        ),
        dma=DmaSpec(
            line_bytes=keys.dma.line.value,
            line_seconds=keys.dma.line_time.value,
            request_seconds=keys.dma.request_time.value,
            block_seconds=keys.dma.block_time.value,
            partial_put_block_seconds=keys.dma.partial_put_block_time.value,
            partial_put_block_bytes=keys.dma.partial_put_block.value,
            block_minimum_seconds=keys.dma.block_minimum_time.value,
            put_granule_bytes=keys.dma.put_granule.value,
            put_line_extra_seconds=keys.dma.put_line_extra.value,
            put_request_extra_seconds=keys.dma.put_request_extra.value,
            put_block_extra_seconds=keys.dma.put_block_extra.value,
            startup_cycles=keys.dma.startup.value,
            issue_cycles=keys.dma.issue.value,
            pending_per_cpe=keys.dma.pending.value,
            channel_bytes_per_second=keys.dma.channel_bandwidth.value,
            columns_per_bus=keys.dma.columns_per_bus.value,
            quarter_bytes_per_second=keys.dma.quarter_bandwidth.value,
            half_bytes_per_second=keys.dma.half_bandwidth.value,
            shared_get_factor=keys.dma.shared_get_factor.value,
            shared_put_factor=keys.dma.shared_put_factor.value,
        ),
        memory=MemorySpec(
            bytes=keys.memory.capacity.value,
            bytes_per_second=keys.memory.bandwidth.value,
            alignment_bytes=keys.memory.alignment.value,
            global_load_cycles=keys.memory.global_load.value,
            global_store_cycles=keys.memory.global_store.value,
        ),
        group_sync_seconds=keys.group_sync.value,
    )


def _pipeline(keys: PipelineKeys) -> PipelineSpec:
    return PipelineSpec(
        integer=keys.integer.value,
        integer_multiply=keys.integer_multiply.value,
        floating=keys.floating.value,
        divide=keys.divide.value,
        load=keys.load.value,
        vector_load=keys.vector_load.value,
        shuffle=keys.shuffle.value,
        register_communication_issue=keys.register_communication_issue.value,
        exponential=keys.exponential.value,
        loop_overhead=keys.loop_overhead.value,
        gemm_mesh_step_residual=keys.gemm_mesh_step_residual.value,
        k_step_residuals=(
            ("swdnn-2016", keys.swdnn_2016_k_step_residual.value),
            ("swdnn-2017", keys.swdnn_2017_k_step_residual.value),
            ("swcaffe-2018", keys.swcaffe_2018_k_step_residual.value),
            ("autotuned-2019", keys.autotuned_2019_k_step_residual.value),
        ),
    )
