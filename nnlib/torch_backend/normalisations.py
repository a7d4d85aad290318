"""Normalisation by PyTorch."""

from __future__ import annotations

from typing import Any

from torch.nn import functional

from nnlib.torch_backend.rules import Place, layer_rule, rectify
from nnlib.torch_backend.tensors import Tensor


@layer_rule("BatchNorm")
def batch_norm(layer: Any, place: Place) -> Tensor:
    """Channels come second in PyTorch; its running values are changed in copies."""
    x, training = place.x.movedim(-1, 1), place.run.training
    mean, variance = place.params["mean"], place.params["variance"]
    if training:
        mean, variance = mean.clone(), variance.clone()
        place.statistics.update(mean=mean, variance=variance)
    scale, shift = place.params.get("scale"), place.params.get("shift")
    y = functional.batch_norm(x, mean, variance, scale, shift, training, layer.momentum, layer.epsilon)
    return rectify(y, place).movedim(1, -1)


@layer_rule("LayerNorm")
def layer_norm(layer: Any, place: Place) -> Tensor:
    """The last axes of each sample."""
    x = place.x
    over = x.shape[x.ndim - layer.axes :]
    return functional.layer_norm(x, over, place.params.get("scale"), place.params.get("shift"), layer.epsilon)


@layer_rule("RMSNorm")
def rms_norm(layer: Any, place: Place) -> Tensor:
    """The same without the mean."""
    x = place.x
    return functional.rms_norm(x, x.shape[x.ndim - layer.axes :], place.params.get("scale"), layer.epsilon)


@layer_rule("GroupNorm")
def group_norm(layer: Any, place: Place) -> Tensor:
    """Channels come second in PyTorch."""
    x = place.x.movedim(-1, 1)
    y = functional.group_norm(x, layer.groups, place.params.get("scale"), place.params.get("shift"), layer.epsilon)
    return y.movedim(1, -1)


@layer_rule("LocalResponseNorm")
def local_response_norm(layer: Any, place: Place) -> Tensor:
    """PyTorch wants at least three axes."""
    x = place.x.movedim(-1, 1)
    wide = x[..., None] if x.ndim == 2 else x
    y = functional.local_response_norm(wide, layer.size, layer.alpha, layer.beta, layer.k)
    return y.reshape(x.shape).movedim(1, -1)
