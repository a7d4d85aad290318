"""From the keys of a roofline device to its description."""

from __future__ import annotations

from sim.machine.roofline_schema import RooflineKeys, RooflinePowerKeys
from sim.machine.roofline_spec import EfficiencySpec, HostSpec, PassesSpec, RooflineSpec
from sim.machine.site_convert import site_power
from sim.machine.site_spec import RooflinePowerSpec


def roofline_spec(keys: RooflineKeys) -> RooflineSpec:
    """The description of a node's devices, in base units."""
    return RooflineSpec(
        name=keys.name,
        devices=keys.devices.value,
        device_cores=keys.cores.value,
        device_fp64_flops=keys.peak_fp64.value,
        device_fp32_flops=keys.peak_fp32.value,
        launch_seconds=keys.launch.value,
        memory_bytes=keys.memory.capacity.value,
        memory_bytes_per_second=keys.memory.bandwidth.value,
        efficiency=EfficiencySpec(
            convolution=keys.efficiency.convolution.value,
            fully_connected=keys.efficiency.fully_connected.value,
            others=keys.efficiency.others.value,
            memory=keys.efficiency.memory.value,
        ),
        passes=PassesSpec(
            batch_norm_forward=keys.passes.batch_norm_forward.value,
            batch_norm_backward=keys.passes.batch_norm_backward.value,
            batch_norm_kernels=keys.passes.batch_norm_kernels.value,
            local_response_forward=keys.passes.local_response_forward.value,
            local_response_backward=keys.passes.local_response_backward.value,
            bias_forward=keys.passes.bias_forward.value,
            bias_backward=keys.passes.bias_backward.value,
        ),
        host=HostSpec(
            cores=keys.host.cores.value,
            clock_hertz=keys.host.clock.value,
            instructions_per_cycle=keys.host.instructions_per_cycle.value,
            device_bytes_per_second=keys.host.device_bandwidth.value,
        ),
    )


def roofline_power_spec(keys: RooflinePowerKeys) -> RooflinePowerSpec:
    """The description of power by component."""
    return RooflinePowerSpec(
        device_idle_watts=keys.device_idle.value,
        device_busy_watts=keys.device_busy.value,
        host_idle_watts=keys.host_idle.value,
        host_core_busy_watts=keys.host_core_busy.value,
        **site_power(keys),
    )
