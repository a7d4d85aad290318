"""Products of integers on the mesh, made narrow integers again before they go to memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter
from nnlib.kernels.products.gemm_scheme import GemmPlan
from nnlib.kernels.products.integer_gemm_program import IntegerGemmProgram
from nnlib.precision.formats import STORAGE, IntegerName
from nnlib.precision.integer import requantise, sums_of
from sim.chip.ldm import aligned
from sim.chip.memory import Array
from sim.chip.pipeline.integer import widening_cycles
from sim.chip.pipeline.schedules import DEFAULT_SCHEDULE
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

COUNTS = 2
"""Sums that left 32 bits, and results that saturated."""


@dataclass(frozen=True)
class IntegerGemm:
    """``c = round((a·b + bias) · multiplier)`` of integers of ``dtype``, with sums of 32 bits.

    ``bias`` is in units of the sums; ``multiplier`` is the step of the sums over the step of c, one for each column.
    ``relu``: negative results become 0. ``clipped``: what does not fit above is cut off on purpose. ``saturated``
    counts sums that left 32 bits, and results that did not fit.
    """

    m: int
    n: int
    k: int
    dtype: IntegerName
    relu: bool = False
    clipped: bool = False

    @property
    def name(self) -> str:
        return "integer_gemm"

    def parameters(self) -> tuple[Parameter, ...]:
        """a, b, bias, multiplier, c and the counts."""
        return (
            Parameter("a", (self.m, self.k), "in"),
            Parameter("b", (self.k, self.n), "in"),
            Parameter("bias", (self.n,), "in", dtype="int32"),
            Parameter("multiplier", (self.n,), "in", dtype="fp64"),
            Parameter("c", (self.m, self.n), "out"),
            Parameter("saturated", (COUNTS,), "out", dtype="int32"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By one BLAS call."""
        exact = arrays["a"].astype(np.float64) @ arrays["b"].astype(np.float64)
        sums = sums_of(exact, arrays["bias"].astype(np.int32))
        c, outside = requantise(sums.values, arrays["multiplier"], self.dtype, relu=self.relu, clipped=self.clipped)
        arrays["c"][...] = c
        arrays["saturated"][...] = sums.overflows, outside

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile fits the LDM."""
        plan = plan_integer_gemm(self, core_group.processor)
        IntegerGemmProgram(
            shape=(self.m, self.n, self.k),
            storage=self.dtype,
            relu=self.relu,
            clipped=self.clipped,
            plan=plan,
            core_group=core_group,
            arguments=arguments,
        ).run()


def ldm_bytes(plan: GemmPlan, item: int) -> int:
    """Two buffers of a, b and c as they are stored, one of each with 32 bits, and a column's numbers."""
    a, b, c = plan.m * plan.k, plan.k * plan.n, plan.m * plan.n
    sizes = [item * a, item * b, item * c] * 2 + [4 * a, 4 * b, 4 * c, 4 * plan.n, 8 * plan.n, 4 * COUNTS, 4 * COUNTS]
    return sum(aligned(size) for size in sizes)


@lru_cache(maxsize=1024)
def plan_integer_gemm(gemm: IntegerGemm, processor: ProcessorSpec) -> GemmPlan:
    """The tile sizes with the least estimated time. Raises InfeasiblePlan if none fit the LDM."""
    item = STORAGE[gemm.dtype].itemsize
    available = processor.cpe.ldm_bytes
    plans = [plan for plan in _candidates(gemm, processor) if ldm_bytes(plan, item) <= available]
    if not plans:
        raise InfeasiblePlan(kernel=gemm.name, needed=ldm_bytes(GemmPlan(m=1, n=1, k=1), item), available=available)
    return min(plans, key=lambda plan: _estimated_cycles(gemm, plan, processor))


def _candidates(gemm: IntegerGemm, processor: ProcessorSpec) -> Iterator[GemmPlan]:
    rows, columns = processor.mesh.rows, processor.mesh.columns
    for m in doubling(-(-gemm.m // rows)):
        for n in doubling(-(-gemm.n // columns)):
            for k in doubling(-(-gemm.k // columns)):
                yield GemmPlan(m=m, n=n, k=k)


def _estimated_cycles(gemm: IntegerGemm, plan: GemmPlan, processor: ProcessorSpec) -> float:
    """If all transfers run under the products: what ranks the plans, not a prediction."""
    mesh, item = processor.mesh, STORAGE[gemm.dtype].itemsize
    tiles_m = -(-gemm.m // (plan.m * mesh.rows))
    tiles_n = -(-gemm.n // (plan.n * mesh.columns))
    tiles_k = -(-gemm.k // (plan.k * mesh.columns))
    size = {"m": plan.m, "n": plan.n, "k": plan.k}
    product = mesh_gemm_cycles(processor, dtype="int32", schedule=DEFAULT_SCHEDULE, **size)
    widened = widening_cycles(cpe=processor.cpe, elements=plan.k * (plan.m + plan.n), bits=8 * item)
    moved = transfer_cycles(processor, blocks=plan.m, run_bytes=plan.k * item)
    if tiles_k > 1 or tiles_m == 1:
        moved += transfer_cycles(processor, blocks=plan.k, run_bytes=plan.n * item)
    put = transfer_cycles(processor, blocks=plan.m, run_bytes=plan.n * item) / tiles_k
    steps = tiles_m * tiles_n * tiles_k
    return steps * max(product + widened, moved + put + processor.dma.startup_cycles)
