"""Layers over sequences with lengths, and those that pick places, by PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor


@layer_rule("LastStep")
def last_step(layer: Any, place: Place) -> Tensor:
    """At each sequence's length, the first step where that is 0."""
    x = place.inputs[0]
    if len(place.inputs) == 1:
        return x[:, -1]
    return x[torch.arange(len(x), device=x.device), place.inputs[1].long().clamp(min=1) - 1]


@layer_rule("RowConvolution")
def row_convolution(layer: Any, place: Place) -> Tensor:
    """Every channel by itself, ahead in time; past a sequence's length there are zeros."""
    x, weight = place.inputs[0], place.params["weight"]
    inside = None
    if len(place.inputs) == 2:
        inside = (torch.arange(x.shape[1], device=x.device) < place.inputs[1][:, None])[..., None]
        x = x * inside
    ahead = functional.pad(x.transpose(1, 2), (0, layer.context))
    y = functional.conv1d(ahead, weight.t()[:, None], groups=x.shape[2]).transpose(1, 2)
    return y if inside is None else y * inside


@layer_rule("Select")
def select(layer: Any, place: Place) -> Tensor:
    """The same places of every sample."""
    x = place.x
    axis = layer.axis % (x.ndim - 1) + 1
    places = torch.tensor([index % x.shape[axis] for index in layer.indices], device=x.device)
    return x.index_select(axis, places)
