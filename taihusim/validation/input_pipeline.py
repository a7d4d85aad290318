"""Predictor of what swCaffe's input pipeline takes for a batch on one core group: reading, transforming, both."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from nnlib.precision import DTYPES
from sim.machine.spec import MachineSpec
from taihusim.validation.inputs import Inputs, Unpredictable, text, whole
from workloads.datasets.storage import IMAGENET_SWCAFFE
from workloads.jobs.input_pipeline import InputPlan, input_timing

SIDES: Final[Mapping[str, int]] = MappingProxyType(
    {"alexnet": 227, "alexnetbn": 227, "vgg16": 224, "vgg19": 224, "googlenet": 224, "resnet50": 224}
)
"""Pixels along a side of the images that each network takes, in three colours (R-swCaffe ``models/*``)."""


def input_pipeline(inputs: Inputs, machine: MachineSpec) -> float:
    """Milliseconds. One process reads a batch in one file and transforms it; its iterations are all alike."""
    net = text(inputs, "net")
    side = SIDES.get(net.lower().replace("_", "").replace("-", ""))
    if side is None:
        raise Unpredictable(f"the size of {net}'s images is not known here")
    timing = input_timing(
        machine=machine,
        plan=InputPlan(),
        stored=IMAGENET_SWCAFFE,
        numbers=3 * side * side,
        samples=whole(inputs, "batch"),
        nodes=1,
        item_bytes=DTYPES["fp32"].itemsize,
    )
    match text(inputs, "what").lower().removeprefix("input pipeline:").split():
        case ["read", "time"]:
            seconds = timing.read_seconds
        case ["transform", "time"]:
            seconds = timing.prepare_seconds
        case ["fetch" | "prefetch", "batch"]:
            seconds = timing.fetch_seconds
        case _:
            raise Unpredictable(f"what {inputs['what']!r} is no part of the input pipeline")
    return 1e3 * seconds
