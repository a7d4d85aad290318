"""Predicts swCaffe's tables of layer times: convolutions, fully connected layers and rectifiers."""

from __future__ import annotations

from typing import Final

from nnlib.kernels.convolutions.convolution import Pass
from nnlib.kernels.generations import Library
from nnlib.kernels.swcaffe.explicit import COLUMN_BYTES
from sim.machine.spec import MachineSpec
from taihusim.validation.conditions import SWCAFFE_LAYERS
from taihusim.validation.inputs import Inputs, Unpredictable, check_library, text, whole
from taihusim.validation.swcaffe_nets import Conv, FullyConnected, Layer, Relu, layer_of, out_size
from taihusim.validation.swcaffe_times import Swcaffe

PHASES: Final[dict[str, Pass]] = {
    "forward": "forward",
    "weight_diff_backward": "weight_gradient",
    "in_diff_backward": "input_gradient",
}
LIBRARY: Final[Library] = "swcaffe-2018"
ON_THE_MPE: Final = "ran partly on the MPE, in ways not published"
IMPLICIT_BATCH, IMPLICIT_LEAST, IMPLICIT_MULTIPLE = 128, 64, 32
"""What the implicit plan takes: batches in multiples, at least so many channels, in multiples (R-swDNN1)."""


def vgg16_layers(inputs: Inputs, machine: MachineSpec) -> float:
    """Seconds of a pass of a convolution by the method of column ``what``."""
    conv = Conv(
        ni=whole(inputs, "Ni"),
        no=whole(inputs, "No"),
        size=whole(inputs, "Ci"),
        kernel=3,
        padding=1,
    )
    phase = text(inputs, "phase")
    if phase not in PHASES:
        raise Unpredictable(f"phase {phase!r} is none of {', '.join(PHASES)}")
    what = text(inputs, "what").lower()
    batch = whole(inputs, "batch")
    check_library(inputs, LIBRARY)
    run = Swcaffe(machine.processor, column_bytes=COLUMN_BYTES)
    if whole(inputs, "cgs") != 1:
        raise Unpredictable("more than one core group is not described")
    if "explicit" in what:
        return run.explicit(conv, PHASES[phase], images=batch)
    if "implicit" not in what:
        raise Unpredictable(f"what {what!r} names neither the explicit nor the implicit plan")
    if not _implicit_suits(conv, images=batch):
        raise Unpredictable("the implicit plan does not take this shape")
    return run.implicit(conv, PHASES[phase], images=batch)


def layers_log(inputs: Inputs, machine: MachineSpec) -> float:
    """Seconds of a layer on one core group in the training log: each image has its own column matrix."""
    check_library(inputs, LIBRARY)
    if whole(inputs, "cgs") != 1:
        raise Unpredictable("the log is of one core group")
    run = Swcaffe(machine.processor, base_bytes=int(SWCAFFE_LAYERS.base_bytes.value))
    return _layer(inputs, run, batch=whole(inputs, "batch"))


def layers_figure(inputs: Inputs, machine: MachineSpec) -> float:
    """Seconds of a layer on four core groups in the paper's figure: each has a quarter of the images."""
    check_library(inputs, LIBRARY)
    device = text(inputs, "device")
    groups = machine.processor.core_groups
    if device != f"{machine.processor.name} {groups} CG":
        raise Unpredictable(f"device {device!r} is not {machine.processor.name} with {groups} core groups")
    run = Swcaffe(machine.processor, active=groups, column_bytes=COLUMN_BYTES)
    return _layer(inputs, run, batch=whole(inputs, "batch", multiple=groups))


def _layer(inputs: Inputs, run: Swcaffe, *, batch: int) -> float:
    name = text(inputs, "layer")
    layer = layer_of(text(inputs, "net"), name)
    if layer is None:
        raise Unpredictable(f"{kind_of(name)}: {ON_THE_MPE}")
    direction = text(inputs, "dir")
    if direction not in ("forward", "backward"):
        raise Unpredictable(f"dir {direction!r} is neither forward nor backward")
    return _seconds(layer, run, batch=batch, forward=direction == "forward")


def _seconds(layer: Layer, run: Swcaffe, *, batch: int, forward: bool) -> float:
    images = batch // run.active
    match layer:
        case Relu():
            return run.relu(layer.elements * images, forward=forward)
        case FullyConnected():
            return run.fully_connected(layer, batch=batch, forward=forward)
        case Conv() if _implicit_suits(layer, images=images):
            return _implicit(layer, run, images=images, forward=forward)
        case Conv():
            if forward:
                return run.explicit(layer, "forward", images=images)
            seconds = run.explicit(layer, "weight_gradient", images=images)
            return seconds if layer.first else seconds + run.explicit(layer, "input_gradient", images=images)


def _implicit(conv: Conv, run: Swcaffe, *, images: int, forward: bool) -> float:
    """By the implicit plan, its data from and to Caffe's order: no layers of their own do that in the tables."""
    x = run.transform(channels=conv.ni, pixels=conv.size**2, images=images)
    y = run.transform(channels=conv.no, pixels=out_size(conv) ** 2, images=images)
    if forward:
        return x + y + run.implicit(conv, "forward", images=images)
    passes = sum(run.implicit(conv, which, images=images) for which in ("weight_gradient", "input_gradient"))
    return 2 * x + y + passes


def _implicit_suits(conv: Conv, *, images: int) -> bool:
    channels = all(each >= IMPLICIT_LEAST and each % IMPLICIT_MULTIPLE == 0 for each in (conv.ni, conv.no))
    return channels and images % IMPLICIT_BATCH == 0 and conv.groups == conv.stride == 1


def kind_of(layer: str) -> str:
    """A layer's kind from its name in a log, such as ``bn`` of ``conv1/bn``."""
    return layer.rsplit("/", 1)[-1].rstrip("0123456789_-")
