"""Which plan each pass of a convolution takes, remembered with the times of kernels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.convolutions.quick import QuickPlan, estimates
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan
from nnlib.kernels.implicit.image_rules import image_plan
from nnlib.kernels.implicit.implicit_image import ImplicitImage
from nnlib.kernels.launch import Launch
from nnlib.kernels.store import key
from nnlib.kernels.winograd.winograd import winograd
from nnlib.program import Layout
from sim.chip.memory import PRIVATE


@dataclass(frozen=True)
class Planned:
    """The launches of a plan on images in ``layout``; no launches: explicit products, as the network's library does.

    ``pixel_weights``: weights are (kr, kc, no, ni).
    """

    plan: QuickPlan
    launches: tuple[Launch, ...]
    layout: Layout = "channels-last"
    pixel_weights: bool = False


@dataclass(frozen=True, eq=False)
class Planner:
    """Finds plans for the processor that ``clock``'s kernels are planned for."""

    clock: KernelClock

    def plan(self, task: Task) -> Planned:
        """The plan of a task with the least estimated time."""
        processor = self.clock.planned
        name, image = self._chosen(task)
        match name:
            case "explicit":
                return Planned(name, ())
            case "winograd":
                found = winograd(
                    task.convolution, task.which, dtype=task.dtype, processor=processor, library=task.library
                )
                return Planned(name, found)
            case "image-size-aware":
                assert image is not None
                kernel = ImplicitImage(
                    convolution=task.convolution,
                    which=task.which,
                    dtype=task.dtype,
                    library=task.library,
                    plan=image,
                )
                return Planned(name, (Launch.of(kernel),), "pixels-first", pixel_weights=True)

    def _chosen(self, task: Task) -> tuple[QuickPlan, ImagePlan | None]:
        """The plan's name, and the tiles of one that has to search for them."""
        store, processor = self.clock.store, self.clock.planned
        entry = key(task, processor=processor, memory=PRIVATE, what="planned")
        known = None if store is None else store.find(entry, _decode)
        if known is None:
            seconds = estimates(task, processor)
            name = min(seconds, key=lambda each: seconds[each])
            image = None
            if name == "image-size-aware":
                of_task = ImagePass(
                    convolution=task.convolution, which=task.which, dtype=task.dtype, library=task.library
                )
                image = image_plan(of_task, processor)
            known = name, image
            if store is not None:
                store.write(entry, json.dumps({"plan": name, "image": None if image is None else asdict(image)}))
        return known


def _decode(fields: Any) -> tuple[QuickPlan, ImagePlan | None]:
    image = fields["image"]
    return fields["plan"], None if image is None else ImagePlan(**image)
