"""Convolution layers that tables call by name: AlexNet and VGG16 as Caffe has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from nnlib.kernels.convolutions.convolution import Convolution
from taihusim.validation.inputs import Inputs, Unpredictable, text


@dataclass(frozen=True)
class Stage:
    """Layers of VGG16 on images of one size: how many, and their channels."""

    layers: int
    size: int
    ni: int
    no: int


ALEXNET: Final[Mapping[str, Convolution]] = {
    "conv1": Convolution(batch=1, ni=3, no=96, ri=227, ci=227, kr=11, kc=11, stride=4),
    "conv2": Convolution(batch=1, ni=96, no=256, ri=27, ci=27, kr=5, kc=5, padding=2),
    "conv3": Convolution(batch=1, ni=256, no=384, ri=13, ci=13, kr=3, kc=3, padding=1),
    "conv4": Convolution(batch=1, ni=384, no=384, ri=13, ci=13, kr=3, kc=3, padding=1),
    "conv5": Convolution(batch=1, ni=384, no=256, ri=13, ci=13, kr=3, kc=3, padding=1),
}
"""Without groups, as in swCaffe's variant with batch normalisation; the original has two in conv2, conv4 and conv5."""

VGG16: Final[Mapping[str, Stage]] = {
    "1": Stage(layers=2, size=224, ni=3, no=64),
    "2": Stage(layers=2, size=112, ni=64, no=128),
    "3": Stage(layers=3, size=56, ni=128, no=256),
    "4": Stage(layers=3, size=28, ni=256, no=512),
    "5": Stage(layers=3, size=14, ni=512, no=512),
}


def named_layer(inputs: Inputs, *, batch: int) -> Convolution:
    """The layer in column ``layer``, such as ``VGG16 conv3_2``. Raises Unpredictable for any other."""
    name = text(inputs, "layer")
    net, _, layer = name.partition(" ")
    found = ALEXNET.get(layer) if net == "AlexNet" else _vgg16(layer) if net == "VGG16" else None
    if found is None:
        raise Unpredictable(f"layer {name!r} is not known")
    return replace(found, batch=batch)


def _vgg16(layer: str) -> Convolution | None:
    number, _, place = layer.removeprefix("conv").partition("_")
    stage = VGG16.get(number) if layer.startswith("conv") else None
    if stage is None or not place.isdigit() or not 1 <= int(place) <= stage.layers:
        return None
    ni = stage.ni if place == "1" else stage.no
    return Convolution(batch=1, ni=ni, no=stage.no, ri=stage.size, ci=stage.size, kr=3, kc=3, padding=1)
