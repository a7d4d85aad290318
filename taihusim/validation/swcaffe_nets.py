"""Layers of the networks in swCaffe's tables, as far as their times are predicted (R-swCaffe ``models/*``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution of square images; ``first``: of a network, so that nobody needs the gradient of its input."""

    ni: int
    no: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    first: bool = False
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class FullyConnected:
    """A product with a matrix of weights (outs, ins)."""

    ins: int
    outs: int


@dataclass(frozen=True, kw_only=True)
class Relu:
    """``elements`` numbers of each image."""

    elements: int


Layer: TypeAlias = Conv | FullyConnected | Relu


def layer_of(net: str, name: str) -> Layer | None:
    """A layer by its name in the table, ``VGG-16`` or ``VGG_16`` as well as ``VGG16``; None if it is not known here."""
    return _NETS.get(net.lower().replace("_", "").replace("-", ""), {}).get(name)


def _alexnet_bn() -> dict[str, Layer]:
    """Two groups in the second, fourth and fifth convolution and no biases, as 60.967 M weights and 0.7244 GMAC say."""
    convolutions = (
        Conv(ni=3, no=96, size=227, kernel=11, stride=4, first=True, bias=False),
        Conv(ni=96, no=256, size=27, kernel=5, padding=2, groups=2, bias=False),
        Conv(ni=256, no=384, size=13, kernel=3, padding=1, bias=False),
        Conv(ni=384, no=384, size=13, kernel=3, padding=1, groups=2, bias=False),
        Conv(ni=384, no=256, size=13, kernel=3, padding=1, groups=2, bias=False),
    )
    found: dict[str, Layer] = {}
    for number, each in enumerate(convolutions, start=1):
        found[f"conv{number}"] = each
        found[f"relu{number}"] = Relu(elements=each.no * out_size(each) ** 2)
    for number, (ins, outs) in enumerate(((256 * 6 * 6, 4096), (4096, 4096), (4096, 1000)), start=6):
        found[f"fc{number}"] = FullyConnected(ins=ins, outs=outs)
        found[f"relu{number}"] = Relu(elements=outs)
    return found


def _vgg16() -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    ins, size = 3, 224
    for block, (outs, layers) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, layers + 1):
            found[f"conv{block}_{number}"] = Conv(
                ni=ins, no=outs, size=size, kernel=3, padding=1, first=block == number == 1
            )
            found[f"relu{block}_{number}"] = Relu(elements=outs * size**2)
            ins = outs
        size //= 2
    for layer, (inputs, outputs) in enumerate(((512 * 7 * 7, 4096), (4096, 4096), (4096, 1000)), start=6):
        found[f"fc{layer}"] = FullyConnected(ins=inputs, outs=outputs)
        found[f"relu{layer}"] = Relu(elements=outputs)
    return found


def out_size(conv: Conv) -> int:
    """Output pixels along an axis."""
    return (conv.size + 2 * conv.padding - conv.kernel) // conv.stride + 1


_NETS: Final[Mapping[str, Mapping[str, Layer]]] = MappingProxyType({"alexnetbn": _alexnet_bn(), "vgg16": _vgg16()})
