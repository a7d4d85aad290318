"""Layers and losses by their own numerics, inside PyTorch's graph of gradients."""

from __future__ import annotations

from typing import Any

import torch

from nnlib.layers.layer import Layer
from nnlib.losses.loss import Loss
from nnlib.torch_backend.rules import Place
from nnlib.torch_backend.tensors import Tensor, to_array, to_tensor


def host_layer(layer: Layer, place: Place) -> Tensor:
    """The layer's output, by NumPy."""
    names = tuple(place.params)
    return _HostLayer.apply(layer, place, names, *place.inputs, *place.params.values())


def host_loss(loss: Loss, outputs: tuple[Tensor, ...], target: Tensor | None, shares: Tensor) -> Tensor:
    """Σ shares · loss, by NumPy."""
    return _HostLoss.apply(loss, target, shares, *outputs)


class _HostLayer(torch.autograd.Function):  # type: ignore[misc]
    """A layer's forward and backward as they are."""

    @staticmethod
    def forward(ctx: Any, layer: Layer, place: Place, names: tuple[str, ...], *tensors: Tensor) -> Tensor:
        """Keeps what the layer keeps."""
        count = len(place.inputs)
        arrays = [to_array(tensor) for tensor in tensors]
        params = dict(zip(names, arrays[count:], strict=True))
        y, saved = layer.forward(params, tuple(arrays[:count]), place.run)
        device = tensors[0].device
        if place.run.training:
            for name, array in layer.statistics(params, saved).items():
                place.statistics[name] = to_tensor(array, device)
        ctx.kept = (layer, params, saved, names, count, device)
        return to_tensor(y, device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by inputs and parameters."""
        layer, params, saved, names, count, device = ctx.kept
        needs = tuple(ctx.needs_input_grad[3 : 3 + count])
        by_inputs, by_params = layer.backward(params, saved, to_array(grad), needs)
        arrays = [*by_inputs, *(by_params.get(name) for name in names)]
        found = (None if array is None else to_tensor(array, device) for array in arrays)
        return None, None, None, *found


class _HostLoss(torch.autograd.Function):  # type: ignore[misc]
    """A loss and the gradients that it gives along with it."""

    @staticmethod
    def forward(ctx: Any, loss: Loss, target: Tensor | None, shares: Tensor, *outputs: Tensor) -> Tensor:
        """Keeps the gradients."""
        arrays = tuple(to_array(output) for output in outputs)
        value, grads = loss.forward(arrays, None if target is None else to_array(target), to_array(shares))
        ctx.grads, ctx.device = grads, shares.device
        return shares.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, times that of the loss."""
        found = (None if array is None else to_tensor(array, ctx.device) * grad for array in ctx.grads)
        return None, None, None, *found
