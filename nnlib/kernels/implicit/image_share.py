"""The part of an image-size-aware convolution that one of several core groups does: some rows, or some images."""

from __future__ import annotations

from dataclasses import replace

from nnlib.kernels.implicit.image_plan import ImagePass
from nnlib.kernels.implicit.image_rules import image_plan
from nnlib.kernels.implicit.image_search import estimate
from nnlib.kernels.implicit.implicit_image import ImplicitImage
from sim.machine.spec import ProcessorSpec


def row_share(task: ImagePass, core_groups: int) -> ImagePass:
    """The rows of the core group that has most: the first, or the second where padding spares the first some work.

    The weight gradient of its rows is a part of the sum.
    """
    if core_groups == 1:
        return task
    targets = task.rows.targets
    rows = -(-targets // core_groups)
    first = rows if task.convolution.padding and 2 * rows <= targets else 0
    return replace(task, share=(first, first + rows))


def image_share(task: ImagePass, core_groups: int) -> ImagePass:
    """The images of the core group that has most."""
    convolution = task.convolution
    return replace(task, convolution=replace(convolution, batch=-(-convolution.batch // core_groups)))


def shared_kernel(task: ImagePass, core_groups: int, processor: ProcessorSpec) -> ImplicitImage:
    """The kernel of the core group with most to do, of rows or of images, whichever is estimated to take less.

    Raises UnsuitablePlan and InfeasiblePlan as the library's rule does.
    """
    shares = [row_share(task, core_groups)]
    if core_groups > 1:
        shares.append(image_share(task, core_groups))
    plans = [(share, image_plan(share, processor)) for share in shares]
    share, plan = min(plans, key=lambda each: estimate(each[0], each[1], processor))
    return ImplicitImage(
        convolution=share.convolution,
        which=share.which,
        dtype=share.dtype,
        library=share.library,
        plan=plan,
        share=share.share,
    )
