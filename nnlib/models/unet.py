"""U-Net (Ronneberger et al. 2015) with batch normalisation, for the segmentation of climate fields."""

from __future__ import annotations

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Concatenate
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv2d
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network


def unet(
    *,
    classes: int = 3,
    image: tuple[int, int, int] = (768, 1152, 16),
    channels: int = 64,
    depth: int = 4,
    class_weights: tuple[float, ...] | None = None,
) -> Model:
    """``depth`` times half the size and twice the channels, and back; each level sees what it was on the way down.

    Height and width have to be multiples of ``2 ** depth``. ``class_weights``: what a pixel of each class counts.
    """
    network = Network(image)
    levels = []
    for level in range(depth):
        _double(network, f"down{level + 1}", channels << level)
        levels.append(network.last)
        network.add(MaxPool(f"pool{level + 1}", (2, 2), 2))
    _double(network, "bottom", channels << depth)
    for level in reversed(range(depth)):
        up = network.add(ConvTranspose2d(f"up{level + 1}", channels << level, (2, 2), 2))
        network.join(Concatenate(f"joined{level + 1}"), levels[level], up)
        _double(network, f"level{level + 1}", channels << level)
    network.add(Conv2d("classes", classes, (1, 1)))
    return Model(network.graph(), (CrossEntropy(outputs=("classes",), class_weights=class_weights),))


def _double(network: Network, name: str, channels: int) -> None:
    for number in (1, 2):
        network.add(
            Conv2d(f"{name}_conv{number}", channels, (3, 3), padding=1, bias=False),
            BatchNorm(f"{name}_bn{number}"),
            ReLU(f"{name}_relu{number}"),
        )
