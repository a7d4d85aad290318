"""A node whose devices are known by their peaks alone: arithmetic and memory, each with what libraries reach of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["fp64", "fp32"]
Work: TypeAlias = Literal["convolution", "fully_connected", "others"]


@dataclass(frozen=True, kw_only=True)
class EfficiencySpec:
    """Shares of a peak that are reached: of arithmetic by what is computed, and of the memory's bandwidth."""

    convolution: float
    fully_connected: float
    others: float
    memory: float

    def of(self, work: Work) -> float:
        """Of arithmetic."""
        return {
            "convolution": self.convolution,
            "fully_connected": self.fully_connected,
            "others": self.others,
        }[work]


@dataclass(frozen=True, kw_only=True)
class PassesSpec:
    """How often a framework's kernels read or write arrays as large as a layer's output, where that is not once each.

    Normalisation over the batch consists of ``batch_norm_kernels`` kernels in each direction. A bias that is added by
    a kernel of its own takes the passes of ``bias`` beside the product.
    """

    batch_norm_forward: int
    batch_norm_backward: int
    batch_norm_kernels: int
    local_response_forward: int
    local_response_backward: int
    bias_forward: int
    bias_backward: int


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """The processor that feeds the devices: ``cores`` at a clock, each with so many instructions a cycle.

    ``device_bytes_per_second``: from the host's memory to the devices of a node together.
    """

    cores: int
    clock_hertz: float
    instructions_per_cycle: float
    device_bytes_per_second: float


@dataclass(frozen=True, kw_only=True)
class RooflineSpec:
    """The ``devices`` of a node, all alike. Peaks, bandwidth, bytes and ``device_cores`` are of one.

    A kernel takes ``launch_seconds`` and the longer of its arithmetic and of its traffic with memory.
    """

    name: str
    devices: int
    device_cores: int
    device_fp64_flops: float
    device_fp32_flops: float
    launch_seconds: float
    memory_bytes: int
    memory_bytes_per_second: float
    efficiency: EfficiencySpec
    passes: PassesSpec
    host: HostSpec

    @property
    def compute_units(self) -> int:
        """What the samples of a node are shared out to."""
        return self.devices

    @property
    def unit_memory_bytes(self) -> int:
        """Main memory of one of them."""
        return self.memory_bytes

    @property
    def preparing_cores(self) -> int:
        """Cores of a node that can prepare samples side by side."""
        return self.host.cores

    @property
    def cores(self) -> int:
        """Cores of the node's devices, as their maker counts them; the host's are not among them."""
        return self.devices * self.device_cores

    @property
    def peak_flops(self) -> float:
        """Peak of the node's devices in fp64, flop/s."""
        return self.devices * self.device_fp64_flops

    def peak_flops_of(self, number: Format) -> float:
        """The same in a format of numbers."""
        return self.devices * (self.device_fp64_flops if number == "fp64" else self.device_fp32_flops)

    def seconds(self, *, flops: float, moved_bytes: float, work: Work, number: Format) -> tuple[float, bool]:
        """One kernel on one device, its launch apart, and whether its arithmetic bounds it rather than memory."""
        arithmetic = flops / (self.efficiency.of(work) * self.peak_flops_of(number) / self.devices)
        memory = moved_bytes / (self.efficiency.memory * self.memory_bytes_per_second)
        return max(arithmetic, memory), arithmetic >= memory
