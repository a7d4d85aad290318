"""The models of the library by name, and the functions that build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from nnlib.lazy_table import LazyTable
from nnlib.model import Model

FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "alexnet": ("alexnet", "alexnet_bn", "alexnet_one_tower"),
    "autoencoder": ("autoencoder", "variational_autoencoder"),
    "deep_speech": ("deep_speech2",),
    "deeplab": ("deeplab",),
    "googlenet": ("googlenet", "googlenet_bn"),
    "language_model": ("lstm_language_model",),
    "lenet": ("lenet5",),
    "mobilenet": ("mobilenet_v2",),
    "resnet": ("resnet18", "resnet50", "resnet101"),
    "transformer": ("bert", "gpt2"),
    "unet": ("unet",),
    "vgg": ("vgg16", "vgg19"),
}
"""What is built in which file of this package."""

MODELS: Final[Mapping[str, Callable[..., Model]]] = LazyTable(
    {name: f"nnlib.models.{file}:{name}" for file, names in FILES.items() for name in names}
)
"""Each takes keyword arguments only: whole numbers, numbers, words, or tuples of them."""
