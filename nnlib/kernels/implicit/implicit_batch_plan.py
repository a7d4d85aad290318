"""Tile sizes of the batch-size-aware plan: what a library would choose, and what fits the LDM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.estimates import doubling, mesh_gemm_cycles
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit.image_operand import cycles_to_convert
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.chip.pipeline.streaming import transpose_cycles
from sim.machine.spec import MeshSpec, ProcessorSpec

WHOLE_TILES_LDM: Final = 55 * 1024
"""Bytes of LDM for the tiles of the 2016 library, which cuts neither batch nor channels (R-swDNN, swCNNv12)."""
FP64: Final = DTYPES["fp64"]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Elements of a CPE's part of a tile: ``batch`` images, ``target`` and ``source`` channels.

    ``columns``: target pixels of a row held at a time; ``spare``: further ones that the library sets aside.
    ``one_more``: a column of the source beyond those needed is loaded; ``puts_in_turn``: a put is waited for before
    the next one starts.
    """

    batch: int
    target: int
    source: int
    columns: int
    spare: int = 0
    one_more: bool = False
    puts_in_turn: bool = False


@dataclass(frozen=True, kw_only=True)
class WeightPlan:
    """Elements of a CPE's part of a tile: ``batch`` images, ``outs`` output and ``ins`` input channels.

    ``columns``: pixels of a row of ``grad_y`` held at a time; ``taps``: rows of taps whose gradients are held.
    """

    batch: int
    outs: int
    ins: int
    columns: int
    taps: int


def converts(*, dtype: DTypeName, library: Library, mesh: MeshSpec) -> bool:
    """True if fp32 operands are turned into fp64 in the LDM as they arrive, and multiplied as such (TACO18 §3.7)."""
    return GENERATIONS[library].converts(dtype, mesh)


def pixel_plan_bytes(plan: BatchPlan, *, kc: int, dtype: DTypeName, library: Library, mesh: MeshSpec) -> int:
    """LDM of two source pixels, of the weights of two rows of taps, of the target pixels.

    Where operands are converted, one of the two is the fp64 copy.
    """
    item = DTYPES[dtype].itemsize
    second = FP64.itemsize if converts(dtype=dtype, library=library, mesh=mesh) else item
    pixel, weight, target = plan.source * plan.batch, plan.target * plan.source, plan.target * plan.batch
    operands = sum(aligned(size * pixel) + kc * aligned(size * weight) for size in (item, second))
    return operands + plan.columns * aligned(item * target) + aligned(plan.spare * item * target)


def weight_plan_bytes(plan: WeightPlan, *, kc: int, dtype: DTypeName, library: Library, mesh: MeshSpec) -> int:
    """LDM of two pixels of x and a turned one, of the pixels of grad_y and their fp64 copies, of the gradients."""
    item = DTYPES[dtype].itemsize
    x, grad_y, weight = plan.ins * plan.batch, plan.outs * plan.batch, plan.outs * plan.ins
    needed = 2 * aligned(item * x) + plan.columns * aligned(item * grad_y) + plan.taps * kc * aligned(item * weight)
    if converts(dtype=dtype, library=library, mesh=mesh):
        return needed + aligned(FP64.itemsize * x) + plan.columns * aligned(FP64.itemsize * grad_y)
    return needed + aligned(item * x)


@lru_cache(maxsize=1024)
def plan_pixels(
    *,
    name: str,
    convolution: Convolution,
    which: Pass,
    dtype: DTypeName,
    library: Library,
    processor: ProcessorSpec,
) -> BatchPlan:
    """The plan of forward or input gradient. Raises InfeasiblePlan."""
    mesh = processor.mesh
    forward = which == "forward"
    targets = convolution.group_no if forward else convolution.group_ni
    sources = convolution.group_ni if forward else convolution.group_no
    width = convolution.co if forward else convolution.ci
    batch, target = -(-convolution.batch // mesh.columns), -(-targets // mesh.rows)
    source = -(-sources // mesh.rows)
    budget, kc = processor.cpe.ldm_bytes, convolution.kc

    def widest(plan: BatchPlan) -> tuple[BatchPlan | None, int]:
        """The plan with as many columns as fit, or None, and the bytes that one column needs."""

        def needed(columns: int) -> int:
            return pixel_plan_bytes(
                BatchPlan(**{**vars(plan), "columns": columns}), kc=kc, dtype=dtype, library=library, mesh=mesh
            )

        least, each = needed(1), needed(2) - needed(1)
        columns = min(1 + (budget - least) // each, width)
        return (BatchPlan(**{**vars(plan), "columns": columns}) if columns > 0 else None), least

    if library == "swdnn-2016":
        budget = min(budget, WHOLE_TILES_LDM)
        whole = BatchPlan(
            batch=batch, target=target, source=source, columns=1, spare=kc - 1, one_more=True, puts_in_turn=True
        )
        fitting, needed = widest(whole)
        if fitting is None:
            raise InfeasiblePlan(kernel=name, needed=needed, available=budget)
        return fitting
    best: tuple[float, BatchPlan] | None = None
    smallest = None
    for b, m, k in product(_cuts(batch, 16), _cuts(target, 4), _cuts(source, 8)):
        plan, needed = widest(BatchPlan(batch=b, target=m, source=k, columns=1))
        smallest = needed if smallest is None else min(smallest, needed)
        if plan is not None:
            seconds = _estimate(
                plan, convolution=convolution, which=which, dtype=dtype, library=library, processor=processor
            )
            if best is None or seconds < best[0]:
                best = seconds, plan
    if best is None:
        raise InfeasiblePlan(kernel=name, needed=smallest or 0, available=budget)
    return best[1]


@lru_cache(maxsize=1024)
def plan_weights(
    *,
    name: str,
    convolution: Convolution,
    which: Pass,
    dtype: DTypeName,
    library: Library,
    processor: ProcessorSpec,
) -> WeightPlan:
    """The plan of the weight gradient: the one that moves least. Raises InfeasiblePlan."""
    assert which == "weight_gradient"
    mesh, budget = processor.mesh, processor.cpe.ldm_bytes
    if library == "swdnn-2016":
        budget = min(budget, WHOLE_TILES_LDM)
    batch = -(-convolution.batch // mesh.rows)
    outs, ins = -(-convolution.group_no // mesh.rows), -(-convolution.group_ni // mesh.columns)
    best: tuple[float, WeightPlan] | None = None
    smallest = None
    for b, m, n, taps in product(_cuts(batch, 8), _cuts(outs, 4), _cuts(ins, 4), range(1, convolution.kr + 1)):
        for columns in _cuts(convolution.co, 1):
            plan = WeightPlan(batch=b, outs=m, ins=n, columns=columns, taps=taps)
            needed = weight_plan_bytes(plan, kc=convolution.kc, dtype=dtype, library=library, mesh=mesh)
            smallest = needed if smallest is None else min(smallest, needed)
            if needed > budget:
                continue
            seconds = _weight_estimate(plan, convolution=convolution, dtype=dtype, library=library, processor=processor)
            if best is None or seconds < best[0]:
                best = seconds, plan
    if best is None:
        raise InfeasiblePlan(kernel=name, needed=smallest or 0, available=budget)
    return best[1]


def _cuts(length: int, least: int) -> list[int]:
    """Parts of ``length``: ``least`` times powers of two below it, and ``length``; in the end as small as 1."""
    return sorted({1, *doubling(length, least=least)}, reverse=True)


def _service(processor: ProcessorSpec, *, rows: int, run: int) -> float:
    """Seconds of the engine for a transfer of ``rows`` blocks of ``run`` bytes by every CPE."""
    dma = processor.dma
    lines = -(-run // dma.line_bytes)
    return processor.cpes_per_core_group * (dma.request_seconds + rows * lines * dma.line_seconds)


def product_seconds(processor: ProcessorSpec, *, dtype: DTypeName, library: Library, m: int, n: int, k: int) -> float:
    """Seconds of a mesh GEMM."""
    generation = GENERATIONS[library]
    cycles = mesh_gemm_cycles(
        processor,
        dtype="fp64" if generation.converts(dtype, processor.mesh) else dtype,
        m=m,
        n=n,
        k=k,
        schedule=generation.schedule,
        k_step_residual=generation.k_step_residual(processor),
    )
    return cycles / processor.clock_hertz


def _conversion_seconds(processor: ProcessorSpec, *, dtype: DTypeName, library: Library, elements: float) -> float:
    """Seconds in which a CPE turns ``elements`` into fp64; none where nothing is converted."""
    if not converts(dtype=dtype, library=library, mesh=processor.mesh):
        return 0.0
    return cycles_to_convert(cpe=processor.cpe, elements=round(elements)) / processor.clock_hertz


def _blocks(lengths: Iterable[tuple[int, int]]) -> int:
    """How many blocks cover all (length, part of it) together."""
    count = 1
    for length, part in lengths:
        count *= -(-length // part)
    return count


def _estimate(
    plan: BatchPlan,
    *,
    convolution: Convolution,
    which: Pass,
    dtype: DTypeName,
    library: Library,
    processor: ProcessorSpec,
) -> float:
    """Seconds of forward or input gradient with the transfers under the compute: what ranks the plans."""
    mesh, item = processor.mesh, DTYPES[dtype].itemsize
    rows, columns = Taps.of(convolution, which, "rows"), Taps.of(convolution, which, "columns")
    forward = which == "forward"
    targets = convolution.group_no if forward else convolution.group_ni
    sources = convolution.group_ni if forward else convolution.group_no
    outer = convolution.groups * _blocks(
        [
            (convolution.batch, plan.batch * mesh.columns),
            (targets, plan.target * mesh.rows),
            (columns.targets, plan.columns),
        ]
    )
    depth = _blocks([(sources, plan.source * mesh.rows)])
    # taps and pixels of a source row that meet a target row, on average
    share = min(1.0, 1 / columns.period)
    wide = columns.targets / _blocks([(columns.targets, plan.columns)])  # the last block of a row may be narrow
    products = wide * convolution.kc * share
    pixels = min(columns.sources, (wide - 1) * columns.advance / columns.period + convolution.kc)
    compute = products * product_seconds(
        processor, dtype=dtype, library=library, m=plan.target, n=plan.batch, k=plan.source
    )
    compute += _conversion_seconds(
        processor,
        dtype=dtype,
        library=library,
        elements=pixels * plan.source * plan.batch + convolution.kc * plan.target * plan.source,
    )
    startup = processor.dma.startup_cycles / processor.clock_hertz
    weights = convolution.kc * _service(processor, rows=plan.target, run=plan.source * item)
    pixel = _service(processor, rows=plan.source, run=plan.batch * item)
    stage = max(compute, weights + pixels * pixel + startup) + startup
    puts = wide * _service(processor, rows=plan.target, run=plan.batch * item) + startup
    stages = depth * convolution.kr * (1 / rows.period)
    return outer * rows.targets * (stages * stage + puts)


def _weight_estimate(
    plan: WeightPlan, *, convolution: Convolution, dtype: DTypeName, library: Library, processor: ProcessorSpec
) -> float:
    """Seconds of the weight gradient, transfers of x under the compute: what ranks the plans."""
    mesh, item = processor.mesh, DTYPES[dtype].itemsize
    outer = convolution.groups * _blocks(
        [
            (convolution.group_no, plan.outs * mesh.rows),
            (convolution.group_ni, plan.ins * mesh.columns),
            (convolution.batch, plan.batch * mesh.rows),
            (convolution.co, plan.columns),
            (convolution.kr, plan.taps),
        ]
    )
    pixels = min(convolution.ci, (plan.columns - 1) * convolution.stride + convolution.kc)
    one = product_seconds(processor, dtype=dtype, library=library, m=plan.outs, n=plan.ins, k=plan.batch)
    turn = transpose_cycles(cpe=processor.cpe, elements=plan.ins * plan.batch) / processor.clock_hertz
    compute = plan.columns * convolution.kc * one + pixels * turn
    compute += _conversion_seconds(
        processor, dtype=dtype, library=library, elements=(pixels * plan.ins + plan.columns * plan.outs) * plan.batch
    )
    startup = processor.dma.startup_cycles / processor.clock_hertz
    moved = pixels * _service(processor, rows=plan.ins, run=plan.batch * item)
    grads = plan.columns * _service(processor, rows=plan.outs, run=plan.batch * item) + startup
    return outer * convolution.ro * (plan.taps * (max(compute, moved + startup)) + grads)
