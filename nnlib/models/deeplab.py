"""A segmentation network of the class of DeepLabv3+ (Chen et al. 2018), as for climate fields in Kurth et al. 2018."""

from __future__ import annotations

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Concatenate, Reshape
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.global_pooling import GlobalAveragePool
from nnlib.layers.resize import Upsample
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network
from nnlib.models.resnet import bottleneck_stage, stem

RATES = (6, 12, 18)
"""Dilations of the pyramid for an output stride of 16."""


def deeplab(
    *,
    classes: int = 3,
    image: tuple[int, int, int] = (768, 1152, 16),
    width: int = 64,
    pyramid: int = 256,
    class_weights: tuple[float, ...] | None = None,
) -> Model:
    """ResNet-50 whose last stage is dilated instead of strided, a pyramid of dilated convolutions, and a decoder.

    Height and width have to be multiples of 16. ``width``: channels of the first convolution, ``pyramid``: of each
    branch of the pyramid.
    """
    network = Network(image)
    stem(network, width)
    bottleneck_stage(network, 2, 3, channels=width, stride=1, stride_in="3x3")
    low = network.last
    bottleneck_stage(network, 3, 4, channels=2 * width, stride=2, stride_in="3x3")
    bottleneck_stage(network, 4, 6, channels=4 * width, stride=2, stride_in="3x3")
    bottleneck_stage(network, 5, 3, channels=8 * width, stride=1, stride_in="3x3", dilation=2)
    _pyramid(network, pyramid)
    rows, columns, _ = network.graph(low).output_shape
    high = network.add(Upsample("decoder_up", size=(rows, columns), mode="bilinear"))
    network.after(low)
    _convolution(network, "decoder_low", 48 * width // 64, kernel=1)
    network.join(Concatenate("decoder_joined"), high, network.last)
    _convolution(network, "decoder1", pyramid, kernel=3)
    _convolution(network, "decoder2", pyramid, kernel=3)
    network.add(Conv2d("logits", classes, (1, 1)), Upsample("classes", size=image[:2], mode="bilinear"))
    return Model(network.graph(), (CrossEntropy(outputs=("classes",), class_weights=class_weights),))


def _pyramid(network: Network, channels: int) -> None:
    """Atrous spatial pyramid pooling: 1 × 1, dilated 3 × 3 and the mean of the whole image, side by side."""
    source = network.last
    rows, columns, depth = network.graph().output_shape
    branches = []
    _convolution(network, "pyramid1", channels, kernel=1)
    branches.append(network.last)
    for number, rate in enumerate(RATES, start=2):
        network.after(source)
        _convolution(network, f"pyramid{number}", channels, kernel=3, dilation=rate)
        branches.append(network.last)
    network.after(source).add(GlobalAveragePool("pyramid_mean"), Reshape("pyramid_pixel", (1, 1, depth)))
    _convolution(network, "pyramid5", channels, kernel=1)
    network.add(Upsample("pyramid_wide", size=(rows, columns), mode="nearest"))
    network.join(Concatenate("pyramid_joined"), *branches, network.last)
    _convolution(network, "pyramid_output", channels, kernel=1)


def _convolution(network: Network, name: str, channels: int, *, kernel: int, dilation: int = 1) -> None:
    network.add(
        Conv2d(name, channels, (kernel, kernel), 1, kernel // 2 * dilation, bias=False, dilation=dilation),
        BatchNorm(f"{name}_bn"),
        ReLU(f"{name}_relu"),
    )
