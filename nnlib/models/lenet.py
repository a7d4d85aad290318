"""LeNet-5 (LeCun et al. 1998), with the changes that are usual today: max pooling and rectified linear units."""

from __future__ import annotations

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network


def lenet5(*, classes: int = 10, image: tuple[int, int, int] = (28, 28, 1)) -> Model:
    """Two convolutions of 5 × 5 and three fully connected layers; ``image`` is (height, width, channels).

    28 × 28 pixels are padded to the 32 × 32 of the paper.
    """
    network = Network(image)
    network.add(
        Conv2d("conv1", 6, (5, 5), padding=2 if image[0] < 32 else 0),
        ReLU("relu1"),
        MaxPool("pool1", (2, 2), 2),
        Conv2d("conv2", 16, (5, 5)),
        ReLU("relu2"),
        MaxPool("pool2", (2, 2), 2),
        Flatten("flatten"),
        Linear("fc3", 120),
        ReLU("relu3"),
        Linear("fc4", 84),
        ReLU("relu4"),
        Linear("fc5", classes),
    )
    return Model(network.graph(), (CrossEntropy(outputs=("fc5",)),))
