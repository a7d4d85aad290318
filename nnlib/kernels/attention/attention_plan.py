"""The tile sizes of an attention kernel: what lies in the LDM, and which sizes should be fastest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Final

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.products.gemm_scheme import SCHEMES
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.pipeline.schedules import SCHEDULES
from sim.chip.pipeline.streaming import Body, stream_cycles, transpose_cycles
from sim.chip.tile import Split
from sim.machine.spec import MeshSpec, ProcessorSpec

ROWS: Final = Split(rows=0, columns=None)
COLUMNS: Final = Split(rows=None, columns=0)
MATRIX: Final = Split(rows=0, columns=1)
SWAPPED: Final = Split(rows=1, columns=0)
SAME: Final = Split()
MOST_PARTS: Final = 8
"""Equal parts that a length is cut into, besides powers of two."""


@dataclass(frozen=True)
class AttentionPlan:
    """A CPE's part of a block of scores: ``rows`` that stay while blocks of ``columns`` pass by."""

    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """A buffer in every CPE's LDM, ``copies`` of it; ``turned``: one more, into which it is transposed."""

    name: str
    size: tuple[int, ...]
    split: Split | None
    copies: int = 1
    turned: bool = False

    def bytes(self, item: int) -> int:
        """Of all copies, elements of ``item`` bytes."""
        return (self.copies + self.turned) * aligned(prod(self.size) * item)


@dataclass(frozen=True, kw_only=True)
class Product:
    """A CPE's part (m × k)·(k × n) of a mesh product, k the part of one step of the mesh."""

    m: int
    n: int
    k: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a kernel has in the LDM under a plan, and does with each block of scores.

    ``stay``: operands and results that belong to rows; ``pass_by``: operands that come with each block; ``scores``: per
    vector of them.
    """

    stay: tuple[Buffer, ...]
    pass_by: tuple[Buffer, ...]
    work: tuple[Buffer, ...]
    products: tuple[Product, ...]
    scores: Body
    score_elements: int

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        return (*self.stay, *self.pass_by, *self.work)

    def room(self) -> tuple[int, int]:
        """Elements of the largest left and right factors."""
        return max(each.m * each.k for each in self.products), max(each.k * each.n for each in self.products)


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What plans are made for: the kernel's layout under each, and how often it goes over rows and columns."""

    kernel: str
    rows: int
    columns: int
    dtype: DTypeName
    library: Library
    layout: Callable[[AttentionPlan], Layout] = field(repr=False)

    @property
    def schedule(self) -> str:
        return SCHEMES[self.library].schedule

    def converts(self, mesh: MeshSpec) -> bool:
        """True if operands are turned into fp64 before they are multiplied."""
        return SCHEDULES[self.schedule].converts(self.dtype, mesh)

    def ldm_bytes(self, layout: Layout, mesh: MeshSpec) -> int:
        """LDM of all buffers, and of the fp64 copies of what is multiplied."""
        item = DTYPES[self.dtype].itemsize
        needed = sum(each.bytes(item) for each in layout.buffers)
        if self.converts(mesh):
            needed += sum(aligned(DTYPES["fp64"].itemsize * elements) for elements in layout.room())
        return needed

    def best(self, processor: ProcessorSpec) -> AttentionPlan:
        """The plan with the least estimated time. Raises InfeasiblePlan if none fits the LDM."""
        side = processor.mesh.columns
        found: tuple[float, AttentionPlan] | None = None
        for rows in _sizes(-(-self.rows // side)):
            for columns in _sizes(-(-self.columns // side)):
                plan = AttentionPlan(rows, columns)
                layout = self.layout(plan)
                if self.ldm_bytes(layout, processor.mesh) > processor.cpe.ldm_bytes:
                    continue
                estimate = self._estimate(plan, layout, processor)
                if found is None or estimate < found[0]:
                    found = (estimate, plan)
        if found is None:
            needed = self.ldm_bytes(self.layout(AttentionPlan(1, 1)), processor.mesh)
            raise InfeasiblePlan(kernel=self.kernel, needed=needed, available=processor.cpe.ldm_bytes)
        return found[1]

    def _estimate(self, plan: AttentionPlan, layout: Layout, processor: ProcessorSpec) -> float:
        """Cycles of one head: what ranks the plans, not a prediction."""
        cpe, side = processor.cpe, processor.mesh.columns
        row_blocks, column_blocks = -(-self.rows // (plan.rows * side)), -(-self.columns // (plan.columns * side))
        residual = GENERATIONS[self.library].k_step_residual(processor)
        compute = stream_cycles(cpe=cpe, body=layout.scores, elements=layout.score_elements)
        for each in layout.products:
            compute += mesh_gemm_cycles(
                processor,
                dtype=self.dtype,
                m=each.m,
                n=each.n,
                k=each.k,
                schedule=self.schedule,
                k_step_residual=residual,
            )
        compute += sum(transpose_cycles(cpe=cpe, elements=prod(each.size)) for each in layout.pass_by if each.turned)
        item = DTYPES[self.dtype].itemsize

        def moved(buffers: tuple[Buffer, ...]) -> float:
            total = 0.0
            for each in buffers:
                blocks, run = prod(each.size[:-1]), each.size[-1] * item
                if by_mesh_rows(each.split, run, processor):
                    blocks, run = -(-blocks // side), side * run
                total += transfer_cycles(processor, blocks=blocks, run_bytes=run)
            return total

        step = max(compute, moved(layout.pass_by) + processor.dma.startup_cycles)
        return row_blocks * (column_blocks * step + moved(layout.stay))


def by_mesh_rows(split: Split | None, run_bytes: int, processor: ProcessorSpec) -> bool:
    """Whether one CPE of each mesh row transfers for all: where each one's runs are less than a memory line."""
    return split == MATRIX and run_bytes < processor.dma.line_bytes


def _sizes(largest: int) -> list[int]:
    """Sizes worth trying for a length of ``largest``."""
    return sorted({*doubling(largest), *(-(-largest // parts) for parts in range(1, MOST_PARTS + 1))})
