"""The tile sizes of a product whose right factor stays in the LDM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.order import Order
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.pipeline.convert import conversion_cycles
from sim.chip.pipeline.schedules import SCHEDULES
from sim.chip.pipeline.streaming import transpose_cycles
from sim.machine.spec import MeshSpec, ProcessorSpec


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A product a (m, k) · b (k, n); ``transpose_b``: b is stored (n, k); channels first a and c are (k, m), (n, m)."""

    m: int
    n: int
    k: int
    dtype: DTypeName
    transpose_b: bool
    order: Order
    overlapped: bool
    schedule: str

    @property
    def buffers(self) -> int:
        """Of a and of c."""
        return 2 if self.overlapped else 1

    @property
    def transposes(self) -> bool:
        """True if b has to be transposed in the LDM: the mesh takes a right factor only as (k, n)."""
        return self.transpose_b and self.order == "channels-last"


@dataclass(frozen=True)
class ResidentPlan:
    """A CPE's part: ``m`` rows of a at a time, ``n`` columns of b at a time, all of ``k``."""

    m: int
    n: int
    k: int


def converts(shape: Shape, mesh: MeshSpec) -> bool:
    """True if the schedule multiplies fp32 operands as fp64."""
    return SCHEDULES[shape.schedule].converts(shape.dtype, mesh)


@lru_cache(maxsize=1024)
def plan_resident(*, shape: Shape, processor: ProcessorSpec) -> ResidentPlan:
    """The tile sizes with the least estimated time. Raises InfeasiblePlan if none fits the LDM."""
    mesh = processor.mesh
    k = -(-shape.k // mesh.columns)
    best: tuple[float, ResidentPlan] | None = None
    for n in doubling(-(-shape.n // mesh.columns)):
        for m in doubling(-(-shape.m // mesh.rows)):
            plan = ResidentPlan(m=m, n=n, k=k)
            if ldm_bytes(shape, plan, mesh) <= processor.cpe.ldm_bytes:
                estimate = _estimate(shape=shape, plan=plan, processor=processor)
                if best is None or estimate < best[0]:
                    best = (estimate, plan)
    if best is None:
        needed = ldm_bytes(shape, ResidentPlan(m=1, n=1, k=k), mesh)
        raise InfeasiblePlan(kernel="resident_product", needed=needed, available=processor.cpe.ldm_bytes)
    return best[1]


def ldm_bytes(shape: Shape, plan: ResidentPlan, mesh: MeshSpec) -> int:
    """The larger of what is needed while b is prepared and while a passes by it."""
    item, wide = DTYPES[shape.dtype].itemsize, DTYPES["fp64"].itemsize
    a, b, c = plan.m * plan.k, plan.k * plan.n, plan.m * plan.n
    convert = converts(shape, mesh)
    stored = aligned(item * b)
    resident = aligned((wide if convert else item) * b)
    loading = stored + (resident if convert or shape.transposes else 0)
    passing = resident + shape.buffers * (aligned(item * a) + aligned(item * c))
    if convert:
        passing += aligned(wide * a) + aligned(wide * c)
    return max(loading, passing)


def _estimate(*, shape: Shape, plan: ResidentPlan, processor: ProcessorSpec) -> float:
    """Cycles of one product: what ranks the plans, not a prediction."""
    mesh, dma, cpe = processor.mesh, processor.dma, processor.cpe
    convert = converts(shape, mesh)
    compute = mesh_gemm_cycles(
        processor,
        dtype="fp64" if convert else shape.dtype,
        m=plan.m,
        n=plan.n,
        k=plan.k,
        schedule=shape.schedule,
    )
    prepare = 0.0
    if convert:
        compute += conversion_cycles(cpe=cpe, elements=plan.m * (plan.k + plan.n))
        prepare += conversion_cycles(cpe=cpe, elements=plan.k * plan.n)
    if shape.transposes:
        prepare += transpose_cycles(cpe=cpe, elements=plan.k * plan.n)
    item = DTYPES[shape.dtype].itemsize

    def transfer(rows: int, columns: int) -> float:
        return transfer_cycles(processor, blocks=rows, run_bytes=columns * item)

    if shape.order == "channels-last":
        moved = transfer(plan.m, plan.k) + transfer(plan.m, plan.n)
    else:
        moved = transfer(plan.k, plan.m) + transfer(plan.n, plan.m)
    load = transfer(plan.n, plan.k) if shape.transpose_b else transfer(plan.k, plan.n)
    steps = -(-shape.m // (plan.m * mesh.rows))
    passes = -(-shape.n // (plan.n * mesh.columns))
    if shape.overlapped:
        return passes * (load + prepare + steps * max(compute, moved) + moved + 2 * dma.startup_cycles)
    return passes * (load + prepare + steps * (compute + moved + 2 * dma.startup_cycles))
