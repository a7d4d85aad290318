"""VGG networks (Simonyan and Zisserman 2015), configurations D and E."""

from __future__ import annotations

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network


def vgg16(*, classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.5) -> Model:
    """Thirteen convolutions of 3 × 3 and three fully connected layers."""
    return _vgg((2, 2, 3, 3, 3), classes=classes, image=image, dropout=dropout)


def vgg19(*, classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.5) -> Model:
    """Sixteen convolutions of 3 × 3 and three fully connected layers."""
    return _vgg((2, 2, 4, 4, 4), classes=classes, image=image, dropout=dropout)


def _vgg(stages: tuple[int, ...], *, classes: int, image: tuple[int, int, int], dropout: float) -> Model:
    network = Network(image)
    for stage, (count, channels) in enumerate(zip(stages, (64, 128, 256, 512, 512), strict=True), start=1):
        for number in range(1, count + 1):
            network.add(Conv2d(f"conv{stage}_{number}", channels, (3, 3), padding=1), ReLU(f"relu{stage}_{number}"))
        network.add(MaxPool(f"pool{stage}", (2, 2), 2))
    network.add(Flatten("flatten"), Linear("fc6", 4096), ReLU("relu6"), Dropout("drop6", dropout))
    network.add(Linear("fc7", 4096), ReLU("relu7"), Dropout("drop7", dropout), Linear("fc8", classes))
    return Model(network.graph(), (CrossEntropy(outputs=("fc8",)),))
