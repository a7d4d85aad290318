"""Which plan of a library generation is estimated to be fastest for a convolution, before anything is simulated.

Estimates rank plans; the time of the one that is taken is simulated like any other. The tuner
(:mod:`nnlib.kernels.convolutions.tuner`) simulates all that may win instead, which takes minutes for a whole network.
"""

from __future__ import annotations

from math import prod
from typing import Literal, TypeAlias

from nnlib.kernels.convolutions.convolution import Pass
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.generations import GENERATIONS
from nnlib.kernels.implicit.image_order import VECTOR
from nnlib.kernels.implicit.image_plan import ImagePass
from nnlib.kernels.implicit.image_rules import image_plan
from nnlib.kernels.implicit.image_search import estimate
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.products.gemm import Gemm, plan_gemm
from nnlib.kernels.products.gemm_plan import estimated_cycles
from nnlib.kernels.winograd.winograd_tiles import PLANES, Grid, check_suitable
from nnlib.precision import DTYPES
from sim.machine.spec import ProcessorSpec

QuickPlan: TypeAlias = Literal["explicit", "winograd", "image-size-aware"]


def estimates(task: Task, processor: ProcessorSpec) -> dict[QuickPlan, float]:
    """Seconds by plan, of those that can do the task on one core group: explicit, winograd, image-size-aware."""
    convolution, had = task.convolution, GENERATIONS[task.library].convolutions
    processor = processor.computing_in(task.dtype)
    found: dict[QuickPlan, float] = {}
    if "explicit" in had:
        found["explicit"] = _explicit(task, processor)
    if "winograd" in had and convolution.groups == 1:
        try:
            check_suitable(convolution)
        except UnsuitablePlan:
            pass
        else:
            found["winograd"] = _winograd(task, processor)
    if "image-size-aware" in had and convolution.batch >= VECTOR:
        image = ImagePass(convolution=convolution, which=task.which, dtype=task.dtype, library=task.library)
        try:
            cycles = estimate(image, image_plan(image, processor), processor)
        except (InfeasiblePlan, UnsuitablePlan):
            pass
        else:
            found["image-size-aware"] = cycles / processor.clock_hertz
    if task.which == "input_gradient" and convolution.kr * convolution.kc > 1 and len(found) > 1:
        del found["explicit"]  # what col2im loses on small blocks is not estimated, and no tuned one has won yet
    return found


def _explicit(task: Task, processor: ProcessorSpec) -> float:
    """Columns written and read, and the products."""
    whole = task.convolution
    pixels, depth = whole.batch * whole.ro * whole.co, whole.group_ni * whole.kr * whole.kc
    m, n, k = _lengths(task.which, pixels, whole.group_no, depth)
    seconds = whole.groups * _gemm_seconds(task, processor, m, n, k)
    if whole.kr == whole.kc == whole.stride == 1 and whole.padding == 0:
        return seconds
    moved = whole.groups * pixels * depth + prod(whole.x_shape)
    return seconds + _moving_seconds(task, processor, moved)


def _winograd(task: Task, processor: ProcessorSpec) -> float:
    """Sixteen products, and planes written from images and read into them."""
    whole = task.convolution
    tiles = Grid.of(whole).tiles
    if task.which == "input_gradient":
        tiles = Grid(whole.batch, whole.ri, whole.ci).tiles
    m, n, k = _lengths(task.which, tiles, whole.no, whole.ni)
    moved = PLANES * tiles * (whole.ni + whole.no) + prod(whole.x_shape) + prod(whole.y_shape)
    return PLANES * _gemm_seconds(task, processor, m, n, k) + _moving_seconds(task, processor, moved)


def _lengths(which: Pass, pixels: int, outs: int, depth: int) -> tuple[int, int, int]:
    match which:
        case "forward":
            return pixels, outs, depth
        case "input_gradient":
            return pixels, depth, outs
        case "weight_gradient":
            return depth, outs, pixels


def _gemm_seconds(task: Task, processor: ProcessorSpec, m: int, n: int, k: int) -> float:
    gemm = Gemm(m=m, n=n, k=k, dtype=task.dtype, library=task.library)
    plan = plan_gemm(gemm=gemm, processor=processor)
    return estimated_cycles(problem=gemm.problem(processor), plan=plan, processor=processor) / processor.clock_hertz


def _moving_seconds(task: Task, processor: ProcessorSpec, numbers: int) -> float:
    return numbers * DTYPES[task.dtype].itemsize / processor.memory.bytes_per_second
