"""Which image-size-aware plan a library generation takes for a convolution."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from nnlib.kernels.generations import GENERATIONS
from nnlib.kernels.implicit.image_order import VECTOR, OrderName
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan, check_plan, ldm_buffers
from nnlib.kernels.implicit.image_search import ranked_plans
from sim.machine.spec import ProcessorSpec

SEARCHED: Final = ("autotuned-2019",)
"""Generations that search for the plan (THESIS chapter 5, SWATOP); the earlier ones were written by hand."""
HAND_COLUMNS: Final = (16, 8, 4, 2, 1)
"""16 output columns × 32 images, the tile of SWDNN17 table III; fewer where weights and outputs leave no room."""
HAND_PARTS: Final = (1, 2, 3, 4)
"""Parts in which a hand-written plan takes the input channels, as few as make the tile fit."""


@lru_cache(maxsize=4096)
def image_plan(task: ImagePass, processor: ProcessorSpec) -> ImagePlan:
    """The plan of the task's library. Raises UnsuitablePlan if it had none, InfeasiblePlan if none fits the LDM."""
    GENERATIONS[task.library].check_has("image-size-aware")
    if task.library in SEARCHED:
        return ranked_plans(task, processor, order=searched_order(task))[0]
    return hand_plan(task, processor)


def searched_order(task: ImagePass) -> OrderName:
    """Images last as all implicit plans have them, or a few images in Caffe's order, whose rows are runs of memory."""
    return "pixels-first" if task.convolution.batch >= VECTOR else "four-images"


def hand_plan(task: ImagePass, processor: ProcessorSpec) -> ImagePlan:
    """16 columns × 32 images of all output channels, and as many input channels at a time as fit beside them.

    The weights of one tap and one source row are on their way while the last ones are used. Where even a quarter of
    the input channels does not fit there are fewer columns, then fewer output channels. Raises InfeasiblePlan.
    """
    mesh = processor.mesh
    source, target = (-(-each // mesh.columns) for each in task.channels)
    lanes, columns = task.images("four-images")[0].lanes, task.columns
    target_parts = 1
    while True:
        for width in HAND_COLUMNS:
            for parts in HAND_PARTS:
                plan = ImagePlan(
                    order="four-images",
                    spread="images",
                    images=lanes,
                    columns=min(-(-width // columns.period) * columns.period, columns.targets),
                    source_channels=-(-source // parts),
                    target_channels=-(-target // target_parts),
                )
                if sum(ldm_buffers(task, plan, mesh).values()) <= processor.cpe.ldm_bytes:
                    return plan
        if target_parts >= target:
            check_plan(task, plan, processor)
        target_parts *= 2
