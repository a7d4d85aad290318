"""The keys of the workload files of this package: what is computed, by kind, and how it is put on a machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from nnlib.models.schema import Section
from sim.machine.quantity import Count
from workloads.hpc.hpl_spec import Broadcast, Process, Swap
from workloads.hpc.process_grid import RankOrder

Title = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1)]


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
