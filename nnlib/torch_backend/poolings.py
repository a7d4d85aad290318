"""Pooling by PyTorch."""

from __future__ import annotations

from typing import Any

from torch.nn import functional

from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor, channels_last, images


@layer_rule("MaxPool")
def max_pool(layer: Any, place: Place) -> Tensor:
    """The first largest pixel of a window takes the gradient, there as here."""
    return channels_last(functional.max_pool2d(images(place.x), layer.kernel, layer.stride))


@layer_rule("GlobalAveragePool")
def global_average_pool(layer: Any, place: Place) -> Tensor:
    """Of all axes but samples and channels."""
    return place.x.mean(dim=tuple(range(1, place.x.ndim - 1)))
