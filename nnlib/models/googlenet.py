"""GoogLeNet (Szegedy et al. 2015): as in Caffe with auxiliary heads, and as in torchvision with batch normalisation."""

from __future__ import annotations

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Concatenate, Flatten
from nnlib.layers.average_pooling import AveragePool
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.global_pooling import GlobalAveragePool
from nnlib.layers.linear import Linear
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of 1 × 1, of 3 × 3 with its reduction before it, of 5 × 5 with its, and behind pooling (table 1)."""
AUXILIARY_WEIGHT = 0.3


def googlenet(
    *,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    auxiliary: bool = True,
    dropout: float = 0.4,
    auxiliary_dropout: float = 0.7,
) -> Model:
    """The original. ``auxiliary``: two further classifiers half way, whose losses count 0.3 in training."""
    network = Network(image)
    network.add(Conv2d("conv1", 64, (7, 7), 2, 3), ReLU("relu1"), MaxPool("pool1", (3, 3), 2, ceil=True))
    network.add(LocalResponseNorm("norm1", size=5, alpha=1e-4, beta=0.75, k=1.0))
    network.add(Conv2d("conv2_reduce", 64, (1, 1)), ReLU("relu2_reduce"))
    network.add(Conv2d("conv2", 192, (3, 3), padding=1), ReLU("relu2"))
    network.add(LocalResponseNorm("norm2", size=5, alpha=1e-4, beta=0.75, k=1.0))
    network.add(MaxPool("pool2", (3, 3), 2, ceil=True))
    heads: list[str] = []
    for name, channels in INCEPTIONS.items():
        _inception(network, f"inception_{name}", channels, normalised=False, wide=5)
        joined = network.last
        if auxiliary and name in ("4a", "4d"):
            heads.append(_auxiliary(network, f"loss{len(heads) + 1}", classes, auxiliary_dropout))
            network.after(joined)
        if name in ("3b", "4e"):
            network.add(MaxPool(f"pool{name[0]}", (3, 3), 2, ceil=True))
    network.add(GlobalAveragePool("average"), Dropout("dropout", dropout), Linear("classifier", classes))
    losses = [CrossEntropy(outputs=("classifier",))]
    losses += [CrossEntropy(outputs=(head,), weight=AUXILIARY_WEIGHT) for head in heads]
    return Model(network.graph(), tuple(losses))


def googlenet_bn(*, classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.2) -> Model:
    """Batch normalisation behind each convolution, 3 × 3 where the original has 5 × 5, no auxiliary heads."""
    network = Network(image)
    _convolution(network, "conv1", 64, kernel=7, stride=2, normalised=True)
    network.add(MaxPool("pool1", (3, 3), 2, ceil=True))
    _convolution(network, "conv2", 64, kernel=1, normalised=True)
    _convolution(network, "conv3", 192, kernel=3, normalised=True)
    network.add(MaxPool("pool2", (3, 3), 2, ceil=True))
    for name, channels in INCEPTIONS.items():
        _inception(network, f"inception_{name}", channels, normalised=True, wide=3)
        if name in ("3b", "4e"):
            size = 3 if name == "3b" else 2
            network.add(MaxPool(f"pool{name[0]}", (size, size), 2, ceil=True))
    network.add(GlobalAveragePool("average"), Dropout("dropout", dropout), Linear("classifier", classes))
    return Model(network.graph(), (CrossEntropy(outputs=("classifier",)),))


def _inception(network: Network, name: str, channels: tuple[int, ...], *, normalised: bool, wide: int) -> None:
    """Four branches side by side; ``wide``: the kernel of the third."""
    source = network.last
    single, reduce3, three, reduce5, five, pooled = channels
    branches = []
    for steps in (
        (("1x1", single, 1),),
        (("3x3_reduce", reduce3, 1), ("3x3", three, 3)),
        (("5x5_reduce", reduce5, 1), ("5x5", five, wide)),
    ):
        network.after(source)
        for suffix, count, kernel in steps:
            _convolution(network, f"{name}_{suffix}", count, kernel=kernel, normalised=normalised)
        branches.append(network.last)
    network.after(source).add(MaxPool(f"{name}_pool", (3, 3), 1, padding=1))
    _convolution(network, f"{name}_pool_proj", pooled, kernel=1, normalised=normalised)
    network.join(Concatenate(f"{name}_output"), *branches, network.last)


def _convolution(network: Network, name: str, channels: int, *, kernel: int, normalised: bool, stride: int = 1) -> None:
    network.add(Conv2d(name, channels, (kernel, kernel), stride, kernel // 2, bias=not normalised))
    if normalised:
        network.add(BatchNorm(f"{name}_bn", epsilon=1e-3))
    network.add(ReLU(f"{name}_relu"))


def _auxiliary(network: Network, name: str, classes: int, dropout: float) -> str:
    """A classifier on an inner layer."""
    network.add(AveragePool(f"{name}_pool", (5, 5), 3), Conv2d(f"{name}_conv", 128, (1, 1)), ReLU(f"{name}_relu_conv"))
    network.add(Flatten(f"{name}_flatten"), Linear(f"{name}_fc", 1024), ReLU(f"{name}_relu_fc"))
    return network.add(Dropout(f"{name}_drop", dropout), Linear(f"{name}_classifier", classes))
