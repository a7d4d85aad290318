"""General matrix multiplication on the 8 × 8 mesh: what is multiplied, under which scheme, with which tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.kernel import Arguments, InfeasiblePlan, Parameter, check_fits
from nnlib.kernels.products.gemm_problem import GemmProblem
from nnlib.kernels.products.gemm_scheme import SCHEMES, GemmPlan, GemmScheme
from nnlib.precision import DTypeName
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Gemm:
    """``c = op(a)·op(b)`` with c (m, n); a is stored (k, m) if ``transpose_a``, b (n, k) if ``transpose_b``.

    ``library``: the generation whose scheme it follows, unless ``scheme`` says another. ``plan``: the tile sizes, if
    not the planner's. ``accumulate``: the product is added to c.
    """

    m: int
    n: int
    k: int
    dtype: DTypeName
    transpose_a: bool = False
    transpose_b: bool = False
    library: Library = DEFAULT_LIBRARY
    scheme: GemmScheme | None = None
    plan: GemmPlan | None = None
    accumulate: bool = False

    @property
    def name(self) -> str:
        return "gemm"

    def problem(self, processor: ProcessorSpec) -> GemmProblem:
        """What is multiplied and how, without the tile sizes."""
        return GemmProblem(
            m=self.m,
            n=self.n,
            k=self.k,
            dtype=self.dtype,
            transpose_a=self.transpose_a,
            transpose_b=self.transpose_b,
            accumulate=self.accumulate,
            scheme=(self.scheme or SCHEMES[self.library]).on(processor.mesh),
        )

    def parameters(self) -> tuple[Parameter, ...]:
        """a, b and c."""
        return (
            Parameter("a", (self.k, self.m) if self.transpose_a else (self.m, self.k), "in"),
            Parameter("b", (self.n, self.k) if self.transpose_b else (self.k, self.n), "in"),
            Parameter("c", (self.m, self.n), "inout" if self.accumulate else "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """``c`` by one BLAS call."""
        a = arrays["a"].T if self.transpose_a else arrays["a"]
        b = arrays["b"].T if self.transpose_b else arrays["b"]
        if self.accumulate:
            arrays["c"] += a @ b
        else:
            arrays["c"][...] = a @ b

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile, or not the given one, fits the LDM."""
        from nnlib.kernels.products.gemm_program import GemmProgram  # what is known need not be simulated

        plan = plan_gemm(gemm=self, processor=core_group.processor)
        GemmProgram(
            problem=self.problem(core_group.processor), plan=plan, core_group=core_group, arguments=arguments
        ).run()


@lru_cache(maxsize=4096)
def plan_gemm(*, gemm: Gemm, processor: ProcessorSpec) -> GemmPlan:
    """The given tile sizes, or those with the least estimated time. Raises InfeasiblePlan if none fit the LDM."""
    problem = gemm.problem(processor)
    if gemm.plan is not None:
        check_fits(kernel=gemm.name, needed=problem.ldm_bytes(gemm.plan), processor=processor)
        return gemm.plan
    from nnlib.kernels.products.gemm_plan import ranked_plans

    plans = ranked_plans(problem=problem, processor=processor)
    if not plans:
        smallest = problem.ldm_bytes(problem.scheme.multiples or GemmPlan(m=1, n=1, k=1))
        raise InfeasiblePlan(kernel=gemm.name, needed=smallest, available=processor.cpe.ldm_bytes)
    return plans[0]
