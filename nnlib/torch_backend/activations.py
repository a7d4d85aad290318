"""Activations by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn import functional

from nnlib.layers.randomness import layer_key
from nnlib.layers.softmax import batch_axis
from nnlib.ops.dropout import dropout_scale, keep_mask
from nnlib.ops.reparameterisation import normal_noise
from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor, numpy_dtype, to_tensor

LINEAR_FROM: Final = 50.0
"""Where PyTorch's softplus may take x for itself: log(1 + e⁻⁵⁰) is less than rounding in fp64."""

_FUNCTIONS: Final[dict[str, Callable[[Any, Tensor], Tensor]]] = {
    "LeakyReLU": lambda layer, x: functional.leaky_relu(x, layer.slope),
    "ELU": lambda layer, x: functional.elu(x, layer.alpha),
    "SELU": lambda layer, x: functional.selu(x),
    "ReLU6": lambda layer, x: functional.relu6(x),
    "ClippedReLU": lambda layer, x: functional.hardtanh(x, 0.0, layer.limit),
    # PyTorch's own has a sixth in single precision in its gradient
    "HardSigmoid": lambda layer, x: functional.relu6(x + 3) / 6,
    "HardSwish": lambda layer, x: functional.hardswish(x),
    "Sigmoid": lambda layer, x: torch.sigmoid(x),
    "Tanh": lambda layer, x: torch.tanh(x),
    "GELU": lambda layer, x: functional.gelu(x, approximate="tanh" if layer.approximate else "none"),
    "SiLU": lambda layer, x: functional.silu(x),
    "Softplus": lambda layer, x: functional.softplus(x, threshold=LINEAR_FROM),
    "Exp": lambda layer, x: torch.exp(x),
    "Log": lambda layer, x: torch.log(x),
    "Sqrt": lambda layer, x: torch.sqrt(x),
    "Square": lambda layer, x: torch.square(x),
    "Reciprocal": lambda layer, x: torch.reciprocal(x),
    "Erf": lambda layer, x: torch.erf(x),
    "Abs": lambda layer, x: torch.abs(x),
    "Scale": lambda layer, x: layer.factor * x + layer.offset,
    "Softmax": lambda layer, x: torch.softmax(x, dim=batch_axis(layer.axis)),
    "LogSoftmax": lambda layer, x: torch.log_softmax(x, dim=batch_axis(layer.axis)),
}


@layer_rule(*_FUNCTIONS)
def pointwise(layer: Any, place: Place) -> Tensor:
    """One function without learned numbers."""
    return _FUNCTIONS[type(layer).__name__](layer, place.x)


@layer_rule("ReLU")
def relu(layer: Any, place: Place) -> Tensor:
    """``max(x, 0)``, unless the layer before has done it."""
    return place.x if place.done else functional.relu(place.x)


@layer_rule("PReLU")
def prelu(layer: Any, place: Place) -> Tensor:
    """Slopes along the last axis, where channels are."""
    x = place.x
    return torch.where(x > 0, x, place.params["slope"] * x)


@layer_rule("Dropout")
def dropout(layer: Any, place: Place) -> Tensor:
    """What the layer's key keeps, as everywhere."""
    x = place.x
    if not place.run.training or layer.rate == 0:
        return x
    mask = keep_mask(layer_key(place.run.key, layer.name), place.run.first_sample, tuple(x.shape), layer.rate)
    return x * to_tensor(mask, x.device) * dropout_scale(layer.rate)


@layer_rule("Reparameterise")
def reparameterise(layer: Any, place: Place) -> Tensor:
    """The noise is the layer's own."""
    mean, log_variance = place.inputs
    if not place.run.training:
        return mean
    key = layer_key(place.run.key, layer.name)
    noise = normal_noise(key, place.run.first_sample, tuple(mean.shape), numpy_dtype(mean))
    return mean + torch.exp(log_variance / 2) * to_tensor(noise, mean.device)
