"""Image-size-aware plans to choose from, and an estimate of their time that ranks them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Final

from nnlib.kernels.generations import GENERATIONS
from nnlib.kernels.image_operand import cycles_to_convert
from nnlib.kernels.image_order import OrderName
from nnlib.kernels.image_plan import ImagePass, ImagePlan, Spread, check_plan, ldm_buffers
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.precision import DTYPES
from sim.chip.memory import Shape
from sim.chip.pipeline import gemm_step_cycles
from sim.machine.spec import ProcessorSpec

SPREADS: Final[tuple[Spread, ...]] = ("images", "rows")


def candidates(task: ImagePass, processor: ProcessorSpec, *, order: OrderName) -> Iterator[ImagePlan]:
    """Plans that fit the LDM, tile sizes in powers of two and whole."""
    mesh = processor.mesh
    source, target = (-(-each // mesh.columns) for each in task.channels)
    period = task.columns.period
    columns = [period * each for each in _sizes(-(-task.columns.targets // period))]
    columns = sorted({min(each, task.columns.targets) for each in columns})
    batch = task.convolution.batch
    lanes = task.images(order)[0].lanes
    for spread in SPREADS:
        most = -(-batch // (lanes * (mesh.rows if spread == "images" else 1)))
        for images in _sizes(most):
            for width in columns:
                for kk in _parts(source):
                    for nn in _parts(target):
                        for buffers in (1, 2) if task.which != "weight_gradient" else (1,):
                            plan = ImagePlan(
                                order=order,
                                spread=spread,
                                images=images * lanes,
                                columns=width,
                                source_channels=kk,
                                target_channels=nn,
                                put_buffers=buffers,
                            )
                            if sum(ldm_buffers(task, plan).values()) <= processor.cpe.ldm_bytes:
                                yield plan


@lru_cache(maxsize=4096)
def ranked_plans(
    task: ImagePass, processor: ProcessorSpec, *, order: OrderName, keep: int = 1
) -> tuple[ImagePlan, ...]:
    """The ``keep`` plans with the least estimated time. Raises InfeasiblePlan if none fits the LDM."""
    plans = sorted(candidates(task, processor, order=order), key=lambda plan: estimate(task, plan, processor))
    if not plans:
        smallest = ImagePlan(
            order=order,
            spread="rows",
            images=task.images(order)[0].lanes,
            columns=min(task.columns.period, task.columns.targets),
            source_channels=1,
            target_channels=1,
        )
        check_plan(task, smallest, processor)
        raise InfeasiblePlan(
            kernel=task.name, needed=sum(ldm_buffers(task, smallest).values()), available=processor.cpe.ldm_bytes
        )
    return tuple(plans[:keep])


def estimate(task: ImagePass, plan: ImagePlan, processor: ProcessorSpec) -> float:
    """Cycles of a plan if the next tile's DMA runs under the compute: what ranks plans, not a prediction."""
    mesh, generation = processor.mesh, GENERATIONS[task.library]
    columns, rows = task.column_blocks(plan), task.row_blocks(plan, mesh.rows)
    row_taps = [len(block.taps) for blocks in rows.classes for block in blocks]
    taps = len(columns.of_taps)
    source, target = task.channels
    images = -(-task.convolution.batch // (plan.images * (mesh.rows if plan.spread == "images" else 1)))
    channel_blocks = (
        -(-source // (plan.source_channels * mesh.columns)),
        -(-target // (plan.target_channels * mesh.columns)),
    )
    kk, nn = plan.source_channels, plan.target_channels
    met = sum(tap.count(plan.columns) for tap in columns.of_taps) / max(1, taps) * plan.images
    by_weight = task.which == "weight_gradient"
    m, n, k = (nn, kk, round(met)) if by_weight else (max(1, round(met)), nn, kk)
    gemm = mesh.columns * (
        2 * mesh.latency_cycles
        + gemm_step_cycles(
            processor=processor,
            dtype="fp64" if task.converts else task.dtype,
            m=m,
            n=n,
            k=k,
            schedule=generation.schedule,
            k_step_residual=generation.k_step_residual(processor),
        )
    )
    x, y = task.images(plan.order)
    ins, outs = (y, x) if task.which == "input_gradient" else (x, y)
    source_box = ins.box_size(images=plan.images, channels=kk, columns=columns.source_width)
    target_box = outs.box_size(images=plan.images, channels=nn, columns=plan.columns)
    weight_box: Shape = (1, nn, kk)
    weight_array: Shape = (1, *((target, source) if task.which != "input_gradient" else (source, target)))

    def convert(box: Shape) -> float:
        if not task.converts:
            return 0.0
        return cycles_to_convert(cpe=processor.cpe, elements=prod(box))

    def moved(box: Shape, array: Shape) -> float:
        return _transfer(box, array, DTYPES[task.dtype].itemsize, processor)

    loads = moved(source_box, ins.grouped_shape)
    blocks = images * columns.blocks * channel_blocks[0] * channel_blocks[1] * task.convolution.groups
    if by_weight:
        loads += moved(target_box, outs.grouped_shape)
        compute = taps * gemm + convert(source_box) + convert(target_box)
        return blocks * sum(row_taps) * (max(compute, loads) + processor.dma.startup_cycles)
    weights = moved(weight_box, weight_array)
    put = moved(target_box, outs.grouped_shape)
    compute = taps * (gemm + convert(weight_box)) + convert(source_box)
    # the transfers that are started with a source tile have one tap's time, or else make it wait
    first = gemm + convert(weight_box)
    load = max(loads + taps * weights, compute, loads + weights + compute - first if loads + weights > first else 0.0)
    per_block = channel_blocks[0] * load
    at_end = put + processor.dma.startup_cycles
    total = 0.0
    for met_rows in row_taps:
        work = met_rows * per_block
        moving = met_rows * channel_blocks[0] * (loads + taps * weights)
        total += max(work, moving + put) if plan.put_buffers > 1 else work + at_end
    return blocks / channel_blocks[0] * total


def _transfer(box: Shape, array: Shape, item: int, processor: ProcessorSpec) -> float:
    """Cycles in which the engine serves all CPEs' boxes."""
    dma = processor.dma
    axis = len(box) - 1
    while axis > 0 and box[axis] >= array[axis]:
        axis -= 1
    run = prod(box[axis:]) * item
    lines = -(-run // dma.line_bytes)
    seconds = dma.request_seconds + prod(box[:axis]) * (lines * dma.line_seconds + dma.block_seconds)
    return processor.cpes_per_core_group * seconds * processor.clock_hertz


def _sizes(largest: int) -> list[int]:
    """Powers of two below ``largest``, and ``largest`` itself."""
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return sizes if largest == 1 else [*sizes, largest]


def _parts(length: int) -> list[int]:
    """``length`` in one part, two, and so on: the sizes of equal parts."""
    return sorted({-(-length // parts) for parts in range(1, min(length, 8) + 1)} | {1}, reverse=True)
