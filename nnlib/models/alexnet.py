"""AlexNet (Krizhevsky et al. 2012): in two towers, with batch normalisation as swCaffe trains it, and in one tower."""

from __future__ import annotations

from nnlib.layers.activation import ReLU
from nnlib.layers.adaptive_pooling import AdaptiveAveragePool
from nnlib.layers.arrangement import Flatten
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.linear import Linear
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network


def alexnet(*, classes: int = 1000, image: tuple[int, int, int] = (227, 227, 3), dropout: float = 0.5) -> Model:
    """The original: grouped convolutions, local response normalisation, overlapping pooling."""
    return _two_towers(classes=classes, image=image, dropout=dropout, batch_normalised=False)


def alexnet_bn(*, classes: int = 1000, image: tuple[int, int, int] = (227, 227, 3), dropout: float = 0.5) -> Model:
    """Batch normalisation behind each convolution in place of its bias and of local response normalisation."""
    return _two_towers(classes=classes, image=image, dropout=dropout, batch_normalised=True)


def alexnet_one_tower(
    *, classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.5
) -> Model:
    """The network of "One weird trick" (Krizhevsky 2014) without normalisation, which torchvision has."""
    network = Network(image)
    network.add(Conv2d("conv1", 64, (11, 11), 4, 2), ReLU("relu1"), MaxPool("pool1", (3, 3), 2))
    network.add(Conv2d("conv2", 192, (5, 5), 1, 2), ReLU("relu2"), MaxPool("pool2", (3, 3), 2))
    for number, channels in ((3, 384), (4, 256), (5, 256)):
        network.add(Conv2d(f"conv{number}", channels, (3, 3), 1, 1), ReLU(f"relu{number}"))
    network.add(MaxPool("pool5", (3, 3), 2), AdaptiveAveragePool("average", (6, 6)), Flatten("flatten"))
    network.add(Dropout("drop5", dropout), Linear("fc6", 4096), ReLU("relu6"))
    network.add(Dropout("drop6", dropout), Linear("fc7", 4096), ReLU("relu7"), Linear("fc8", classes))
    return Model(network.graph(), (CrossEntropy(outputs=("fc8",)),))


def _two_towers(*, classes: int, image: tuple[int, int, int], dropout: float, batch_normalised: bool) -> Model:
    network = Network(image)
    for number, (channels, kernel, stride, padding, groups) in enumerate(
        ((96, 11, 4, 0, 1), (256, 5, 1, 2, 2), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2)), start=1
    ):
        bias = not batch_normalised
        network.add(Conv2d(f"conv{number}", channels, (kernel, kernel), stride, padding, bias, groups=groups))
        if batch_normalised:
            network.add(BatchNorm(f"bn{number}"))
        network.add(ReLU(f"relu{number}"))
        if number <= 2 and not batch_normalised:
            network.add(LocalResponseNorm(f"norm{number}", size=5, alpha=1e-4, beta=0.75, k=1.0))
        if number in (1, 2, 5):
            network.add(MaxPool(f"pool{number}", (3, 3), 2))
    network.add(Flatten("flatten"), Linear("fc6", 4096), ReLU("relu6"), Dropout("drop6", dropout))
    network.add(Linear("fc7", 4096), ReLU("relu7"), Dropout("drop7", dropout), Linear("fc8", classes))
    return Model(network.graph(), (CrossEntropy(outputs=("fc8",)),))
