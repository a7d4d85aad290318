"""A plan of the image-size-aware convolution: its tile sizes, and the LDM that they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.implicit.image_blocks import Columns, Rows
from nnlib.kernels.implicit.image_order import Images, OrderName
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned
from sim.machine.spec import MeshSpec, ProcessorSpec

Spread: TypeAlias = Literal["images", "rows"]
FP64_BYTES: Final = DTYPES["fp64"].itemsize


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """A CPE's part of a tile: ``columns`` output pixels of a row of ``images`` images, and channels.

    ``spread``: what the mesh's rows divide, images or rows of pixels; its columns divide the channels.
    ``put_buffers``: 2 to compute the next tile while one is put.
    """

    order: OrderName
    spread: Spread
    images: int
    columns: int
    source_channels: int
    target_channels: int
    put_buffers: int = 1


@dataclass(frozen=True, kw_only=True)
class ImagePass:
    """What is to be computed: a pass over target rows ``share`` of a convolution, None for all."""

    convolution: Convolution
    which: Pass
    dtype: DTypeName
    library: Library
    share: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return f"conv2d_{self.which}_image_size_aware"

    def converts(self, mesh: MeshSpec) -> bool:
        """True if fp32 operands are multiplied as fp64."""
        return GENERATIONS[self.library].converts(self.dtype, mesh)

    @property
    def rows(self) -> Taps:
        return Taps.of(self.convolution, self.which, "rows")

    @property
    def columns(self) -> Taps:
        return Taps.of(self.convolution, self.which, "columns")

    @property
    def share_range(self) -> range:
        return range(*(self.share or (0, self.rows.targets)))

    @property
    def channels(self) -> tuple[int, int]:
        """Of a group, of the source and of the target."""
        convolution = self.convolution
        ins, outs = convolution.group_ni, convolution.group_no
        return (outs, ins) if self.which == "input_gradient" else (ins, outs)

    def images(self, order: OrderName) -> tuple[Images, Images]:
        """x and y, or their gradients."""
        convolution = self.convolution
        x = Images(order, convolution.batch, convolution.ni, convolution.ri, convolution.ci, convolution.groups)
        y = Images(order, convolution.batch, convolution.no, convolution.ro, convolution.co, convolution.groups)
        return x, y

    def column_blocks(self, plan: ImagePlan) -> Columns:
        return Columns(self.columns, plan.columns)

    def row_blocks(self, plan: ImagePlan, mesh_rows: int) -> Rows:
        return Rows(self.rows, self.share_range, mesh_rows if plan.spread == "rows" else 1)


def ldm_buffers(task: ImagePass, plan: ImagePlan, mesh: MeshSpec) -> dict[str, int]:
    """Bytes of each kind of buffer: source, weight, target. Operands that are converted have one buffer of each kind.

    The weight gradient has the two images as source, and a tile of weights for each tap of a kernel row as target.
    """
    item, converts = DTYPES[task.dtype].itemsize, task.converts(mesh)
    source_columns = task.column_blocks(plan).source_width
    pixels = plan.columns * plan.images
    weight = plan.source_channels * plan.target_channels

    def operand(elements: int) -> int:
        parts = (item, FP64_BYTES) if converts else (item, item)
        return sum(aligned(part * elements) for part in parts)

    source = operand(source_columns * plan.images * plan.source_channels)
    if task.which == "weight_gradient":
        source += operand(pixels * plan.target_channels)
        return {"source": source, "target": task.columns.taps * aligned(item * weight)}
    return {
        "source": source,
        "weight": operand(weight),
        "target": plan.put_buffers * aligned(item * pixels * plan.target_channels),
    }


def check_plan(task: ImagePass, plan: ImagePlan, processor: ProcessorSpec) -> None:
    """Raise UnsuitablePlan or InfeasiblePlan unless the plan can be carried out."""
    convolution = task.convolution
    lanes = task.images(plan.order)[0].lanes
    if plan.images % lanes:
        raise UnsuitablePlan(
            kernel=task.name, reason=f"{plan.images} images per CPE, but {lanes} images lie side by side"
        )
    period = task.columns.period
    if plan.columns % period and plan.columns < task.columns.targets:
        raise UnsuitablePlan(
            kernel=task.name, reason=f"blocks of {plan.columns} columns do not fit a stride of {convolution.stride}"
        )
    needed = sum(ldm_buffers(task, plan, processor.mesh).values())
    if needed > processor.cpe.ldm_bytes:
        raise InfeasiblePlan(kernel=task.name, needed=needed, available=processor.cpe.ldm_bytes)
