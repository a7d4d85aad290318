"""Activations by PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor


@layer_rule("ReLU")
def relu(layer: Any, place: Place) -> Tensor:
    """``max(x, 0)``."""
    return functional.relu(place.x)


@layer_rule("Sigmoid")
def sigmoid(layer: Any, place: Place) -> Tensor:
    """``1 / (1 + e⁻ˣ)``."""
    return torch.sigmoid(place.x)


@layer_rule("Tanh")
def tanh(layer: Any, place: Place) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(place.x)
