"""MobileNetV2 (Sandler et al. 2018)."""

from __future__ import annotations

from nnlib.layers.activation import ReLU6
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.global_pooling import GlobalAveragePool
from nnlib.layers.linear import Linear
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and first stride (table 2 of the paper)."""


def mobilenet_v2(
    *,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    dropout: float = 0.2,
) -> Model:
    """Inverted residuals with depthwise convolutions; ``width`` multiplies all channels."""
    network = Network(image)
    inside = _rounded(32 * width)
    _convolution(network, "conv1", inside, kernel=3, stride=2)
    number = 0
    for expansion, channels, repeats, first in BLOCKS:
        outside = _rounded(channels * width)
        for repeat in range(repeats):
            number += 1
            _block(network, f"block{number}", inside, outside, expansion=expansion, stride=1 if repeat else first)
            inside = outside
    _convolution(network, "conv2", _rounded(1280 * max(1.0, width)), kernel=1)
    network.add(GlobalAveragePool("average"), Dropout("dropout", dropout), Linear("fc", classes))
    return Model(network.graph(), (CrossEntropy(outputs=("fc",)),))


def _block(network: Network, name: str, inside: int, outside: int, *, expansion: int, stride: int) -> None:
    source = network.last
    expanded = inside * expansion
    if expansion != 1:
        _convolution(network, f"{name}_expand", expanded, kernel=1)
    _convolution(network, f"{name}_depthwise", expanded, kernel=3, stride=stride, groups=expanded)
    network.add(Conv2d(f"{name}_project", outside, (1, 1), bias=False), BatchNorm(f"{name}_project_bn"))
    if stride == 1 and inside == outside:
        network.join(Add(f"{name}_add"), source, network.last)


def _convolution(network: Network, name: str, channels: int, *, kernel: int, stride: int = 1, groups: int = 1) -> None:
    network.add(
        Conv2d(name, channels, (kernel, kernel), stride, kernel // 2, bias=False, groups=groups),
        BatchNorm(f"{name}_bn"),
        ReLU6(f"{name}_relu"),
    )


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not below nine tenths of ``channels``."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found
