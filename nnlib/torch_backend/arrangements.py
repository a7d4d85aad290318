"""Layers that arrange, join or reduce numbers, by PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Final

import torch
from torch.nn import functional

from nnlib.layers.axis_reduction import batch_axes
from nnlib.torch_backend.host import host_layer
from nnlib.torch_backend.rules import Place, layer_rule, rectify
from nnlib.torch_backend.tensors import Tensor, aligned

_BINARY: Final[dict[str, Callable[..., Tensor]]] = {
    "Add": torch.add,
    "Subtract": torch.sub,
    "Multiply": torch.mul,
    "Divide": torch.div,
}


@layer_rule(*_BINARY)
def binary(layer: Any, place: Place) -> Tensor:
    """Two inputs, or of a sum any number, whose shapes broadcast."""
    y = reduce(_BINARY[type(layer).__name__], aligned(place.inputs))
    return rectify(y, place)


@layer_rule("Operand")
def operand(layer: Any, place: Place) -> Tensor:
    """One operand is learned and the same for all samples."""
    x, value = place.x, place.params["value"]
    a, b = (value, x) if layer.first else (x, value)
    return _BINARY[layer.operation.capitalize()](a, b)


@layer_rule("Flatten", "Reshape")
def reshape(layer: Any, place: Place) -> Tensor:
    """In the order in which the numbers lie here."""
    x = place.x
    return x.reshape(len(x), *layer.output_shape((tuple(x.shape[1:]),)))


@layer_rule("Transpose")
def transpose(layer: Any, place: Place) -> Tensor:
    """A view."""
    return place.x.permute(layer.batch_axes)


@layer_rule("Concatenate")
def concatenate(layer: Any, place: Place) -> Tensor:
    """Along an axis of a sample."""
    return torch.cat(place.inputs, dim=layer.place(tuple(place.inputs[0].shape[1:])) + 1)


@layer_rule("Slice")
def slice_(layer: Any, place: Place) -> Tensor:
    """PyTorch has no steps backwards."""
    x = place.x
    if layer.step > 0:
        return x[layer.index(tuple(x.shape[1:]))]
    shape = tuple(x.shape[1:])
    places = torch.tensor(list(layer.places(shape)), device=x.device)
    return x.index_select(layer.axis % len(shape) + 1, places)


@layer_rule("Pad")
def pad(layer: Any, place: Place) -> Tensor:
    """Mirrored and repeated numbers only where PyTorch has as many axes."""
    if layer.mode != "constant":
        return host_layer(layer, place)
    widths = [width for before_behind in reversed(layer.widths) for width in before_behind]
    return functional.pad(place.x, widths, value=layer.value)


@layer_rule("Mean", "Sum")
def reduce_axes(layer: Any, place: Place) -> Tensor:
    """Over axes of a sample."""
    axes = batch_axes(layer.axes, tuple(place.x.shape[1:]))
    function = torch.mean if type(layer).__name__ == "Mean" else torch.sum
    return function(place.x, dim=axes, keepdim=layer.keep)


@layer_rule("Expand")
def expand(layer: Any, place: Place) -> Tensor:
    """A view."""
    x = place.x
    wide = x.reshape(len(x), *(1,) * (len(layer.shape) + 1 - x.ndim), *x.shape[1:])
    return wide.expand(len(x), *layer.shape)


@layer_rule("Upsample")
def upsample(layer: Any, place: Place) -> Tensor:
    """To the layer's size; sequences are images of one row only for themselves."""
    x = place.x
    size = layer.pixels(tuple(x.shape[1:]))
    options: dict[str, Any] = {}
    if layer.mode != "nearest":
        if x.ndim != 4:
            return host_layer(layer, place)
        options["align_corners"] = layer.align_corners
    return functional.interpolate(x.movedim(-1, 1), size=size, mode=layer.mode, **options).movedim(1, -1)
