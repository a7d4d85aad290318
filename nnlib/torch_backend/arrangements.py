"""Layers that arrange or join numbers, by PyTorch."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch

from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor


@layer_rule("Flatten")
def flatten(layer: Any, place: Place) -> Tensor:
    """Vectors, in the order in which the numbers lie here."""
    return place.x.reshape(len(place.x), -1)


@layer_rule("Add")
def add(layer: Any, place: Place) -> Tensor:
    """The sum of any number of inputs."""
    return reduce(torch.add, place.inputs)
