"""The models of the library by name, and the functions that build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from nnlib.model import Model
from nnlib.models.alexnet import alexnet, alexnet_bn, alexnet_one_tower
from nnlib.models.autoencoder import autoencoder, variational_autoencoder
from nnlib.models.deep_speech import deep_speech2
from nnlib.models.deeplab import deeplab
from nnlib.models.googlenet import googlenet, googlenet_bn
from nnlib.models.language_model import lstm_language_model
from nnlib.models.lenet import lenet5
from nnlib.models.mobilenet import mobilenet_v2
from nnlib.models.resnet import resnet18, resnet50, resnet101
from nnlib.models.transformer import bert, gpt2
from nnlib.models.unet import unet
from nnlib.models.vgg import vgg16, vgg19

BUILDERS: Final[tuple[Callable[..., Model], ...]] = (
    alexnet,
    alexnet_bn,
    alexnet_one_tower,
    autoencoder,
    bert,
    deep_speech2,
    deeplab,
    googlenet,
    googlenet_bn,
    gpt2,
    lenet5,
    lstm_language_model,
    mobilenet_v2,
    resnet18,
    resnet50,
    resnet101,
    unet,
    variational_autoencoder,
    vgg16,
    vgg19,
)

MODELS: Final[Mapping[str, Callable[..., Model]]] = {build.__name__: build for build in BUILDERS}
"""Each takes keyword arguments only: whole numbers, numbers, words, or tuples of them."""
