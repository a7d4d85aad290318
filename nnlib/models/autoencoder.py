"""Convolutional autoencoders, plain and variational (Kingma and Welling 2014)."""

from __future__ import annotations

from math import prod

from nnlib.layers.activation import ReLU, Sigmoid
from nnlib.layers.arrangement import Flatten, Reshape
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Shape
from nnlib.layers.linear import Linear
from nnlib.layers.reparameterise import Reparameterise
from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.losses.gaussian_kl import GaussianKL
from nnlib.losses.regression import MeanSquaredError
from nnlib.model import Model
from nnlib.models.network import Network


def autoencoder(
    *,
    image: tuple[int, int, int] = (8, 8, 1),
    channels: tuple[int, ...] = (32, 64),
    code: int = 8,
    hidden: int = 128,
) -> Model:
    """Images to ``code`` numbers and back; each entry of ``channels`` halves height and width.

    It learns to make its target ``image`` from the same image.
    """
    network = Network(image)
    inner = _encode(network, channels, hidden)
    network.add(Linear("code", code))
    _decode(network, image, inner, channels, hidden)
    network.add(Sigmoid("image"))
    return Model(network.graph(), (MeanSquaredError(outputs=("image",), target="image"),))


def variational_autoencoder(
    *,
    image: tuple[int, int, int] = (8, 8, 1),
    channels: tuple[int, ...] = (32, 64),
    code: int = 8,
    hidden: int = 128,
) -> Model:
    """The same with a code that is drawn: binary cross-entropy of all pixels plus the divergence from the prior."""
    network = Network(image)
    inner = _encode(network, channels, hidden)
    features = network.last
    mean = network.add(Linear("mean", code))
    spread = network.after(features).add(Linear("log_variance", code))
    network.join(Reparameterise("code"), mean, spread)
    _decode(network, image, inner, channels, hidden)
    pixels = network.last
    network.add(Sigmoid("image"))
    losses = (
        BinaryCrossEntropy(outputs=(pixels,), target="image", weight=float(prod(image))),
        GaussianKL(outputs=(mean, spread), target=None),
    )
    return Model(network.graph("image"), losses)


def _encode(network: Network, channels: tuple[int, ...], hidden: int) -> Shape:
    """Strided convolutions and a hidden layer; returns the shape before the latter."""
    for number, count in enumerate(channels, start=1):
        network.add(Conv2d(f"down{number}", count, (3, 3), 2, 1), ReLU(f"down_relu{number}"))
    inner = network.graph().output_shape
    network.add(Flatten("flatten"), Linear("encoder", hidden), ReLU("encoder_relu"))
    return inner


def _decode(
    network: Network, image: tuple[int, int, int], inner: Shape, channels: tuple[int, ...], hidden: int
) -> None:
    network.add(Linear("decoder", hidden), ReLU("decoder_relu"), Linear("spread", prod(inner)), ReLU("spread_relu"))
    network.add(Reshape("pixels", inner))
    for number, count in reversed(list(enumerate((image[2], *channels[:-1]), start=1))):
        network.add(ConvTranspose2d(f"up{number}", count, (4, 4), 2, 1))
        if number > 1:
            network.add(ReLU(f"up_relu{number}"))
