"""Image-size-aware plans to choose from, and an estimate of their time that ranks them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Final

from nnlib.kernels.estimates import doubling, mesh_gemm_cycles, transfer_cycles
from nnlib.kernels.generations import GENERATIONS
from nnlib.kernels.implicit.image_blocks import Columns, Rows
from nnlib.kernels.implicit.image_operand import cycles_to_convert
from nnlib.kernels.implicit.image_order import OrderName
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan, Spread, check_plan, ldm_buffers
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.precision import DTYPES
from sim.chip.memory import Shape
from sim.machine.spec import ProcessorSpec

SPREADS: Final[tuple[Spread, ...]] = ("images", "rows")


def candidates(task: ImagePass, processor: ProcessorSpec, *, order: OrderName) -> Iterator[ImagePlan]:
    """Plans that fit the LDM, tile sizes in powers of two and whole."""
    mesh = processor.mesh
    source, target = (-(-each // mesh.columns) for each in task.channels)
    period = task.columns.period
    columns = [period * each for each in doubling(-(-task.columns.targets // period))]
    columns = sorted({min(each, task.columns.targets) for each in columns})
    batch = task.convolution.batch
    lanes = task.images(order)[0].lanes
    for spread in SPREADS:
        most = -(-batch // (lanes * (mesh.rows if spread == "images" else 1)))
        for images in doubling(most):
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
                            if sum(ldm_buffers(task, plan, processor.mesh).values()) <= processor.cpe.ldm_bytes:
                                yield plan


@lru_cache(maxsize=4096)
def ranked_plans(
    task: ImagePass, processor: ProcessorSpec, *, order: OrderName, keep: int = 1
) -> tuple[ImagePlan, ...]:
    """The ``keep`` plans with the least estimated time. Raises InfeasiblePlan if none fits the LDM."""
    plans = sorted(candidates(task, processor, order=order), key=Estimates(task, processor, order).cycles)
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
        needed = sum(ldm_buffers(task, smallest, processor.mesh).values())
        raise InfeasiblePlan(kernel=task.name, needed=needed, available=processor.cpe.ldm_bytes)
    return tuple(plans[:keep])


def estimate(task: ImagePass, plan: ImagePlan, processor: ProcessorSpec) -> float:
    """Cycles of a plan if the next tile's DMA runs under the compute: what ranks plans, not a prediction."""
    return Estimates(task, processor, plan.order).cycles(plan)


class Estimates:
    """Estimates of many plans of one task; what they share is worked out once."""

    def __init__(self, task: ImagePass, processor: ProcessorSpec, order: OrderName) -> None:
        self.task, self.processor, self.order = task, processor, order
        self.generation = GENERATIONS[task.library]
        self.converts = task.converts(processor.mesh)
        x, y = task.images(order)
        self.source, self.target = (y, x) if task.which == "input_gradient" else (x, y)
        self.source_shape, self.target_shape = self.source.grouped_shape, self.target.grouped_shape
        channels = task.channels
        self.weight_shape: Shape = channels if task.which == "input_gradient" else channels[::-1]
        self.columns = lru_cache(maxsize=None)(self._columns)
        self.row_taps = lru_cache(maxsize=None)(self._row_taps)
        self.gemm = lru_cache(maxsize=None)(self._gemm)

    def cycles(self, plan: ImagePlan) -> float:
        """Of the whole kernel."""
        task, processor = self.task, self.processor
        mesh, startup = processor.mesh, processor.dma.startup_cycles
        columns, taps, met = self.columns(plan.columns)
        row_taps = self.row_taps(plan.spread)
        source, target = task.channels
        image_blocks = -(-self.source.batch // (plan.images * (mesh.rows if plan.spread == "images" else 1)))
        source_parts = -(-source // (plan.source_channels * mesh.columns))
        target_parts = -(-target // (plan.target_channels * mesh.columns))
        blocks = image_blocks * columns.blocks * target_parts * task.convolution.groups
        kk, nn, pixels = plan.source_channels, plan.target_channels, max(1, round(met * plan.images))
        source_box = self.source.box_size(images=plan.images, channels=kk, columns=columns.source_width)
        target_box = self.target.box_size(images=plan.images, channels=nn, columns=plan.columns)
        loads = self.moved(source_box, self.source_shape)
        put = self.moved(target_box, self.target_shape)
        if task.which == "weight_gradient":
            compute = taps * self.gemm(nn, kk, pixels) + self.convert(source_box) + self.convert(target_box)
            return blocks * source_parts * sum(row_taps) * (max(compute, loads + put) + startup)
        weight_box = (kk, nn) if task.which == "input_gradient" else (nn, kk)
        weights = self.moved(weight_box, self.weight_shape)
        gemm = self.gemm(pixels, nn, kk)
        each = gemm + self.convert(weight_box)
        compute = taps * each + self.convert(source_box)
        # what is started with a source tile comes with the next weights, which the next GEMM waits for
        late = max(0.0, loads + weights - each)
        load = max(loads + taps * weights, compute + late)
        moving = source_parts * (loads + taps * weights)
        if plan.put_buffers > 1:
            total = sum(max(rows * source_parts * load, rows * moving + put) for rows in row_taps)
        else:
            total = sum(rows * source_parts * load + put + startup for rows in row_taps)
        return blocks * total

    def _columns(self, width: int) -> tuple[Columns, int, float]:
        """Blocks of a width, the taps that they have, and the mean number of target columns of a tap."""
        columns = Columns(self.task.columns, width)
        counts = [tap.count(width) for tap in columns.of_taps]
        return columns, len(counts), sum(counts) / max(1, len(counts))

    def _row_taps(self, spread: Spread) -> list[int]:
        """Kernel rows that each block of rows meets."""
        mesh_rows = self.processor.mesh.rows if spread == "rows" else 1
        rows = Rows(self.task.rows, self.task.share_range, mesh_rows)
        return [len(block.taps) for blocks in rows.classes for block in blocks]

    def _gemm(self, m: int, n: int, k: int) -> float:
        return mesh_gemm_cycles(
            self.processor,
            dtype="fp64" if self.converts else self.task.dtype,
            m=m,
            n=n,
            k=k,
            schedule=self.generation.schedule,
            k_step_residual=self.generation.k_step_residual(self.processor),
        )

    def convert(self, box: Shape) -> float:
        """Cycles of a CPE to convert a tile, 0 where it stays as it is."""
        return cycles_to_convert(cpe=self.processor.cpe, elements=prod(box)) if self.converts else 0.0

    def moved(self, box: Shape, array: Shape) -> float:
        """Cycles in which the engine serves all CPEs' boxes."""
        axis = len(box) - 1
        while axis > 0 and box[axis] >= array[axis]:
            axis -= 1
        run_bytes = prod(box[axis:]) * DTYPES[self.task.dtype].itemsize
        return transfer_cycles(self.processor, blocks=prod(box[:axis]), run_bytes=run_bytes)


def _parts(length: int) -> list[int]:
    """``length`` in one part, two, and so on: the sizes of equal parts."""
    return sorted({-(-length // parts) for parts in range(1, min(length, 8) + 1)} | {1}, reverse=True)
