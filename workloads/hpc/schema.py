"""The keys of the workload files of this package: what is computed, by kind, and how it is put on a machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from nnlib.models.schema import Section
from sim.machine.quantity import Bytes, Count
from workloads.hpc.hpl_spec import Broadcast, Process, Swap
from workloads.hpc.process_grid import RankOrder

Title = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1)]
Steps = Annotated[int, Field(strict=True, ge=0)]


class HplProblemKeys(Section):
    """``problem`` of a Linpack run: the ``order`` of the matrix on ``order_nodes`` nodes, dealt out in blocks."""

    order: Count
    order_nodes: Count
    block: Count


class HplMappingKeys(Section):
    """``mapping`` of a Linpack run, see :class:`workloads.hpc.hpl_spec.HplMapping`."""

    process: Process = "core_group"
    rows: Count | None = None
    order: RankOrder = "column_major"
    broadcast: Broadcast = "long"
    swap: Swap = "spread_roll"
    swap_overlapped: StrictBool = False
    pivots_eager: StrictBool = True
    lookahead: Annotated[int, Field(strict=True, ge=0, le=1)] = 1
    leaf: Count = 8
    update_columns: Count = 1024
    persistent_threads: StrictBool = True
    kernel_fraction: Fraction | None = None


class HplFile(Section):
    """A Linpack run."""

    kind: Literal["hpl"]
    title: Title
    problem: HplProblemKeys
    mapping: HplMappingKeys = HplMappingKeys()


class HpcgMappingKeys(Section):
    """``mapping`` of conjugate gradients, see :class:`workloads.hpc.cg_spec.HpcgWorkload`."""

    collective: str = "recursive_doubling"
    persistent_threads: StrictBool = True


class HpcgFile(Section):
    """Conjugate gradients: ``points`` of a core group along z, y and x."""

    kind: Literal["hpcg"]
    title: Title
    points: tuple[Count, Count, Count]
    levels: Count
    mapping: HpcgMappingKeys = HpcgMappingKeys()


class DynamicsKeys(Section):
    """``dynamics``, see :class:`nnlib.kernels.grids.weather_step.Dynamics`."""

    step: Positive
    wave_speed: Positive
    coriolis: Number


class ClimateMappingKeys(Section):
    """``mapping`` of a climate step; stripes of the file through which fields may go."""

    persistent_threads: StrictBool = True
    stripes: Count = 32
    stripe: Bytes = 256_000_000


class ClimateFile(Section):
    """Steps of a dynamical core, then a network that looks through its fields."""

    kind: Literal["climate"]
    title: Title
    network: Title
    windows: tuple[Count, Count]
    steps: Steps
    dynamics: DynamicsKeys
    mapping: ClimateMappingKeys = ClimateMappingKeys()
