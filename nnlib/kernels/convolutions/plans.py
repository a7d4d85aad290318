"""The plans of a convolution by name: what a core group launches under each, or why it cannot.

Core groups of a chip share out the images, the rows of the output or, where a plan works together on one array, both;
what counts is the core group with most to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.depthwise import depthwise_kernel
from nnlib.kernels.convolutions.direct import DirectConvolution
from nnlib.kernels.convolutions.dma_convolution import DmaConvolution
from nnlib.kernels.convolutions.explicit import explicit, window_of
from nnlib.kernels.convolutions.patch_window import PatchWindow
from nnlib.kernels.generations import DEFAULT_LIBRARY, GENERATIONS, Library
from nnlib.kernels.implicit.image_plan import ImagePass
from nnlib.kernels.implicit.image_share import shared_kernel
from nnlib.kernels.implicit.implicit_batch import BatchSizeAware
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.launch import Launch
from nnlib.kernels.winograd.winograd import winograd
from nnlib.precision import DTypeName
from sim.machine.spec import ProcessorSpec


@dataclass(frozen=True, kw_only=True)
class Task:
    """A pass of a convolution on ``core_groups`` of a chip, by a library."""

    convolution: Convolution
    which: Pass
    dtype: DTypeName
    library: Library = DEFAULT_LIBRARY
    core_groups: int = 1

    @property
    def share(self) -> Convolution:
        """The images of the core group that has most."""
        return replace(self.convolution, batch=-(-self.convolution.batch // self.core_groups))

    @property
    def row_share(self) -> Convolution | None:
        """The output rows of the core group that has most, all images (R-swDNN); None where rows overlap by padding.

        Rows of the input that two core groups need are read by both.
        """
        whole = self.convolution
        if self.core_groups == 1 or whole.padding or self.which == "input_gradient":
            return None
        rows = -(-whole.ro // self.core_groups)
        return replace(whole, ri=(rows - 1) * whole.stride + whole.dilation * (whole.kr - 1) + 1)


Build: TypeAlias = Callable[[Task, ProcessorSpec], tuple[Launch, ...]]


def _direct(task: Task, _: ProcessorSpec) -> tuple[Launch, ...]:
    return (Launch.of(DirectConvolution(convolution=task.share, which=task.which, dtype=task.dtype)),)


def _dma(task: Task, _: ProcessorSpec) -> tuple[Launch, ...]:
    return (Launch.of(DmaConvolution(convolution=task.share, which=task.which, dtype=task.dtype)),)


def _batch_size_aware(task: Task, _: ProcessorSpec) -> tuple[Launch, ...]:
    share = task.row_share or task.share
    return (Launch.of(BatchSizeAware(convolution=share, which=task.which, dtype=task.dtype, library=task.library)),)


def _image_size_aware(task: Task, processor: ProcessorSpec) -> tuple[Launch, ...]:
    image_pass = ImagePass(convolution=task.convolution, which=task.which, dtype=task.dtype, library=task.library)
    return (Launch.of(shared_kernel(image_pass, task.core_groups, processor)),)


def _explicit(task: Task, _: ProcessorSpec) -> tuple[Launch, ...]:
    return explicit(task.share, task.which, dtype=task.dtype, library=task.library)


def _winograd(task: Task, processor: ProcessorSpec) -> tuple[Launch, ...]:
    return winograd(task.share, task.which, dtype=task.dtype, processor=processor, library=task.library)


def _depthwise(task: Task, _: ProcessorSpec) -> tuple[Launch, ...]:
    share = task.share
    if not share.groups == share.ni == share.no:
        channels = f"{share.ni} input and {share.no} output channels in {share.groups} groups"
        raise UnsuitablePlan(kernel="depthwise", reason=f"{channels} are not one of each in a group")
    return (Launch.of(depthwise_kernel(PatchWindow.of(window_of(share)), task.which, task.dtype)),)


def _at_peak(task: Task, _: tuple[Launch, ...], processor: ProcessorSpec) -> float:
    """All multiply-adds at peak, but for taps that meet only padding, which a plan may leave out."""
    flops = task.convolution.inside * task.convolution.flops / task.core_groups
    return flops / processor.core_group_cpe_peak_flops


def _products_alone(_: Task, launches: tuple[Launch, ...], processor: ProcessorSpec) -> float:
    """The products of the one launch, each by itself."""
    kernel = launches[0].kernel
    assert isinstance(kernel, BatchSizeAware)
    return kernel.least_seconds(processor)


def _fewer_products(task: Task, launches: tuple[Launch, ...], processor: ProcessorSpec) -> float:
    """F(2×2, 3×3) multiplies 16 times where a direct convolution does 36 times."""
    return _at_peak(task, launches, processor) * 16 / 36


@dataclass(frozen=True)
class Plan:
    """``build`` raises InfeasiblePlan or UnsuitablePlan, with the reason, where it cannot do a task.

    ``least_compute``: seconds that the multiply-adds of what it built take at least. Raises InfeasiblePlan.
    """

    build: Build
    least_compute: Callable[[Task, tuple[Launch, ...], ProcessorSpec], float] = _at_peak


PLANS: Final[Mapping[str, Plan]] = {
    "direct": Plan(_direct),
    "dma": Plan(_dma),
    "batch-size-aware": Plan(_batch_size_aware, _products_alone),
    "image-size-aware": Plan(_image_size_aware),
    "explicit": Plan(_explicit),
    "winograd": Plan(_winograd, _fewer_products),
    "depthwise": Plan(_depthwise),
}


@dataclass(frozen=True)
class Refusal:
    """Why a plan cannot do a task."""

    plan: str
    reason: str


def build(plan: str, task: Task, processor: ProcessorSpec) -> tuple[Launch, ...]:
    """The launches of the core group with most to do. Raises InfeasiblePlan, UnsuitablePlan, and KeyError."""
    GENERATIONS[task.library].check_has(plan)
    return PLANS[plan].build(task, processor.computing_in(task.dtype))


def build_all(task: Task, processor: ProcessorSpec) -> tuple[dict[str, tuple[Launch, ...]], list[Refusal]]:
    """The launches under every plan of the task's library that can do it, and why the others cannot."""
    found: dict[str, tuple[Launch, ...]] = {}
    refusals = []
    for plan in GENERATIONS[task.library].convolutions:
        try:
            found[plan] = build(plan, task, processor)
        except (InfeasiblePlan, UnsuitablePlan) as error:
            refusals.append(Refusal(plan, str(error)))
    return found, refusals
