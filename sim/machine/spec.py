"""What exists: a machine as frozen descriptions in base units (bytes, seconds, hertz, cycles, watts).

The descriptions are made by :mod:`sim.machine.load` from a machine file; everything above reads only these.
Derived peaks are properties, so that a changed parameter changes them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sim.machine.network_spec import NetworkSpec, NoiseSpec
from sim.machine.site_spec import FaultsSpec, PowerSpec, RooflinePowerSpec, StorageSpec
from sim.problems import BadInput, Problem

if TYPE_CHECKING:  # few machines have other devices
    from sim.machine.roofline_spec import Format, RooflineSpec

NO_CORE_GROUPS: Final = (
    "a machine with core groups: on this one, whose devices are known by their peaks alone, predict, serve and "
    "compare work"
)


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """Latencies and issue costs of the two-pipe in-order CPE pipeline, in cycles."""

    integer: int
    integer_multiply: int
    floating: int
    divide: int
    load: int
    vector_load: int
    shuffle: int
    register_communication_issue: int
    exponential: int
    loop_overhead: int
    gemm_mesh_step_residual: float
    """Part of a measured mesh step of a GEMM that the scoreboard does not explain."""
    k_step_residuals: tuple[tuple[str, float], ...] = ()
    """Cycles of a k-step that the scoreboard does not explain, by library generation."""

    def k_step_residual(self, library: str) -> float:
        """Unexplained cycles of a k-step in a library generation; 0 where none are on record."""
        return dict(self.k_step_residuals).get(library, 0.0)


@dataclass(frozen=True, kw_only=True)
class RemoteAccessSpec:
    """Remote access (RMA): a CPE copies from its LDM into others', beside its own arithmetic, as DMA does.

    ``buffer_bytes`` of each LDM are kept for what comes, in two halves; ``startup_cycles`` for each copy.
    """

    buffer_bytes: int
    startup_cycles: int


@dataclass(frozen=True, kw_only=True)
class MeshSpec:
    """The mesh of a core group: register communication, or ``remote`` access where there is that instead.

    ``transfer_bytes``: a word of register communication; with remote access, what reaches a CPE in a cycle.
    """

    rows: int
    columns: int
    transfer_bytes: int
    fifo_entries: int
    latency_cycles: int
    sync_cycles: int
    remote: RemoteAccessSpec | None = None


@dataclass(frozen=True, kw_only=True)
class FixedPointSpec:
    """Integer arithmetic of the vectors: ``vector_lanes`` 32-bit numbers in each.

    ``multiply_add_instructions`` for a vector of products added to sums: 1 where they are fused. ``widen``: to make a
    vector of 32-bit numbers of narrower ones that were loaded; ``narrow``: the reverse, before they are stored.
    """

    vector_lanes: int
    multiply_add_instructions: int
    int16_widen_instructions: int
    int16_narrow_instructions: int
    int8_widen_instructions: int
    int8_narrow_instructions: int

    def widen_instructions(self, bits: int) -> int:
        """For numbers of ``bits``; those of 32 need none. Raises KeyError for bits that there are not."""
        return {32: 0, 16: self.int16_widen_instructions, 8: self.int8_widen_instructions}[bits]

    def narrow_instructions(self, bits: int) -> int:
        """As :meth:`widen_instructions`."""
        return {32: 0, 16: self.int16_narrow_instructions, 8: self.int8_narrow_instructions}[bits]


@dataclass(frozen=True, kw_only=True)
class CpeSpec:
    """One computing processing element.

    ``ldm_bytes``: what programs can allocate. ``computing``: the format that :attr:`vector_lanes` and
    :attr:`flops_per_cycle` are of.
    """

    ldm_bytes: int
    fp64_vector_lanes: int
    fp32_vector_lanes: int
    fp64_flops_per_cycle: int
    pipeline: PipelineSpec
    fixed_point: FixedPointSpec
    computing: Format = "fp64"

    def lanes(self, number: str) -> int:
        """Lanes of a vector in fp64, or in any narrower format, which is computed in as one of 32 bits."""
        return self.fp64_vector_lanes if number == "fp64" else self.fp32_vector_lanes

    @property
    def vector_lanes(self) -> int:
        """Lanes of a vector of the numbers that are computed in."""
        return self.lanes(self.computing)

    @property
    def flops_per_cycle(self) -> int:
        """Operations on such numbers."""
        return self.fp64_flops_per_cycle * self.vector_lanes // self.fp64_vector_lanes


@dataclass(frozen=True, kw_only=True)
class MpeSpec:
    """The management processing element of a core group."""

    flops_per_cycle: int
    launch_seconds: float
    copy_bytes_per_second: float


@dataclass(frozen=True, kw_only=True)
class DmaSpec:
    """The DMA engine of a core group: one server, shared line by line among outstanding requests.

    ``quarter_bytes_per_second`` and ``half_bytes_per_second`` bound it while at most a quarter or a half of the data
    buses, each shared by ``columns_per_bus`` adjacent columns of CPEs, have requests.
    """

    line_bytes: int
    line_seconds: float
    request_seconds: float
    block_seconds: float
    partial_put_block_seconds: float
    partial_put_block_bytes: int
    block_minimum_seconds: float
    put_granule_bytes: int
    put_line_extra_seconds: float
    put_request_extra_seconds: float
    put_block_extra_seconds: float
    startup_cycles: int
    issue_cycles: int
    pending_per_cpe: int
    channel_bytes_per_second: float
    columns_per_bus: int
    quarter_bytes_per_second: float
    half_bytes_per_second: float
    shared_get_factor: float = 1.0
    """How much longer a line takes that all core groups read, in shared memory mode with several of them active."""
    shared_put_factor: float = 1.0
    """The same for any line that is put."""


@dataclass(frozen=True, kw_only=True)
class MemorySpec:
    """Main memory of one core group."""

    bytes: int
    bytes_per_second: float
    alignment_bytes: int
    global_load_cycles: int
    """Cycles from a CPE's load of main memory, without DMA, until its value can be used."""
    global_store_cycles: int


@dataclass(frozen=True, kw_only=True)
class ProcessorSpec:
    """One chip: core groups of one MPE and a mesh of CPEs each, at one clock."""

    name: str
    clock_hertz: float
    core_groups: int
    cpe: CpeSpec
    mpe: MpeSpec
    mesh: MeshSpec
    dma: DmaSpec
    memory: MemorySpec
    group_sync_seconds: float

    @property
    def compute_units(self) -> int:
        """What the samples of a node are shared out to: its core groups."""
        return self.core_groups

    @property
    def unit_memory_bytes(self) -> int:
        """Main memory of one of them."""
        return self.memory.bytes

    @property
    def preparing_cores(self) -> int:
        """Cores of a node that can prepare samples side by side: its MPEs."""
        return self.core_groups

    @property
    def cpes_per_core_group(self) -> int:
        return self.mesh.rows * self.mesh.columns

    @property
    def cores(self) -> int:
        """Cores of the chip, MPEs included."""
        return self.core_groups * (self.cpes_per_core_group + 1)

    @property
    def core_group_cpe_peak_flops(self) -> float:
        """Peak of one core group's CPEs, flop/s."""
        return self.cpes_per_core_group * self.cpe.flops_per_cycle * self.clock_hertz

    @property
    def peak_flops(self) -> float:
        """Peak of the chip, CPEs and MPEs, flop/s."""
        mpe = self.mpe.flops_per_cycle * self.clock_hertz
        return self.core_groups * (self.core_group_cpe_peak_flops + mpe)

    def computing_in(self, number: str) -> ProcessorSpec:
        """The same whose CPEs' vectors are of a format of numbers: itself where all formats have as many lanes."""
        return self if self.cpe.lanes(number) == self.cpe.vector_lanes else _computing_in(self, number)

    def peak_flops_of(self, number: Format) -> float:
        """The same for a format of numbers."""
        return self.computing_in(number).peak_flops


@lru_cache(maxsize=64)
def _computing_in(processor: ProcessorSpec, number: str) -> ProcessorSpec:
    return replace(processor, cpe=replace(processor.cpe, computing="fp64" if number == "fp64" else "fp32"))


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A whole machine. ``sources`` maps each key path of the machine file to where its value came from.

    ``computing``: what a node computes with.
    """

    name: str
    title: str
    computing: ProcessorSpec | RooflineSpec
    network: NetworkSpec
    noise: NoiseSpec
    storage: StorageSpec
    power: PowerSpec | RooflinePowerSpec
    faults: FaultsSpec
    sources: Mapping[str, str]

    @property
    def processor(self) -> ProcessorSpec:
        """The chip of a node. Raises BadInput if its nodes have other devices."""
        if not isinstance(self.computing, ProcessorSpec):
            name = self.computing.name
            raise BadInput([Problem(file=f"machine {self.name}", key="processor", value=name, expected=NO_CORE_GROUPS)])
        return self.computing

    @property
    def roofline(self) -> RooflineSpec | None:
        """The devices of a node, None where it has a chip of core groups."""
        return None if isinstance(self.computing, ProcessorSpec) else self.computing

    @property
    def nodes(self) -> int:
        return self.network.nodes

    @property
    def node_memory_bytes(self) -> int:
        """Main memory of a node that computing uses."""
        return self.computing.compute_units * self.computing.unit_memory_bytes

    @property
    def cores(self) -> int:
        return self.nodes * self.computing.cores

    @property
    def peak_flops(self) -> float:
        return self.nodes * self.computing.peak_flops
