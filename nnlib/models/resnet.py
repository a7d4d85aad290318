"""Residual networks (He et al. 2016)."""

from __future__ import annotations

from typing import Literal

from nnlib.layers.activation import ReLU
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add
from nnlib.layers.convolution import Conv2d
from nnlib.layers.global_pooling import GlobalAveragePool
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network


def resnet18(
    *, classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), width: int = 64, small: bool = False
) -> Model:
    """Eight basic blocks. ``small``: a stem of 3 × 3 without pooling, as for images of 32 × 32 pixels."""
    network = Network(image)
    stem(network, width, small=small)
    for stage, count in enumerate((2, 2, 2, 2), start=2):
        basic_stage(network, stage, count, channels=width << (stage - 2), stride=1 if stage == 2 else 2)
    return _classifier(network, classes)


def resnet50(
    *,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    stride_in: Literal["1x1", "3x3"] = "1x1",
    width: int = 64,
) -> Model:
    """Sixteen bottlenecks. ``stride_in``: as in the paper, or the 3 × 3 convolution (version 1.5)."""
    return _bottlenecks((3, 4, 6, 3), classes=classes, image=image, stride_in=stride_in, width=width)


def resnet101(
    *,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    stride_in: Literal["1x1", "3x3"] = "1x1",
    width: int = 64,
) -> Model:
    """Thirty-three bottlenecks. ``stride_in``: as in the paper, or the 3 × 3 convolution (version 1.5)."""
    return _bottlenecks((3, 4, 23, 3), classes=classes, image=image, stride_in=stride_in, width=width)


def _bottlenecks(
    stages: tuple[int, ...],
    *,
    classes: int,
    image: tuple[int, int, int],
    stride_in: Literal["1x1", "3x3"],
    width: int,
) -> Model:
    network = Network(image)
    stem(network, width)
    for stage, count in enumerate(stages, start=2):
        stride = 1 if stage == 2 else 2
        bottleneck_stage(network, stage, count, channels=width << (stage - 2), stride=stride, stride_in=stride_in)
    return _classifier(network, classes)


def stem(network: Network, width: int, *, small: bool = False) -> None:
    """The first convolution: 7 × 7 and pooling, or for small images 3 × 3 alone."""
    kernel, stride = (3, 1) if small else (7, 2)
    network.add(
        Conv2d("conv1", width, (kernel, kernel), stride, kernel // 2, bias=False), BatchNorm("bn1"), ReLU("relu1")
    )
    if not small:
        network.add(MaxPool("pool1", (3, 3), 2, padding=1))


def basic_stage(network: Network, stage: int, count: int, *, channels: int, stride: int) -> None:
    """``count`` blocks of two convolutions of 3 × 3; the first one has the stride."""
    for number in range(1, count + 1):
        step = stride if number == 1 else 1
        source = network.last
        name = f"block{stage}_{number}"
        _branch(network, name, ((3, channels, step), (3, channels, 1)))
        _join(network, name, source, outside=channels, stride=step, project=number == 1 and stage > 2)


def bottleneck_stage(
    network: Network,
    stage: int,
    count: int,
    *,
    channels: int,
    stride: int,
    stride_in: Literal["1x1", "3x3"],
    dilation: int = 1,
) -> None:
    """``count`` blocks of 1 × 1, 3 × 3 and 1 × 1 to four times the channels; the first one has the stride."""
    for number in range(1, count + 1):
        step = stride if number == 1 else 1
        first, second = (step, 1) if stride_in == "1x1" else (1, step)
        source = network.last
        name = f"block{stage}_{number}"
        kernels = ((1, channels, first), (3, channels, second), (1, 4 * channels, 1))
        _branch(network, name, kernels, dilation=dilation)
        _join(network, name, source, outside=4 * channels, stride=step, project=number == 1)


def _branch(network: Network, name: str, kernels: tuple[tuple[int, int, int], ...], *, dilation: int = 1) -> None:
    """Convolutions (kernel, channels, stride), each normalised, rectified but for the last; 3 × 3 ones are dilated."""
    for number, (kernel, channels, stride) in enumerate(kernels, start=1):
        apart = dilation if kernel > 1 else 1
        network.add(
            Conv2d(
                f"{name}_conv{number}", channels, (kernel, kernel), stride, kernel // 2 * apart, False, dilation=apart
            ),
            BatchNorm(f"{name}_bn{number}"),
        )
        if number < len(kernels):
            network.add(ReLU(f"{name}_relu{number}"))


def _join(network: Network, name: str, source: str, *, outside: int, stride: int, project: bool) -> None:
    """Add the block's input, projected by 1 × 1 where shapes differ."""
    branch, shortcut = network.last, source
    if project:
        network.after(source).add(Conv2d(f"{name}_shortcut", outside, (1, 1), stride, bias=False))
        shortcut = network.add(BatchNorm(f"{name}_shortcut_bn"))
    network.join(Add(f"{name}_add"), branch, shortcut)
    network.add(ReLU(f"{name}_relu"))


def _classifier(network: Network, classes: int) -> Model:
    network.add(GlobalAveragePool("average"), Linear("fc", classes))
    return Model(network.graph(), (CrossEntropy(outputs=("fc",)),))
