"""Normalisation by PyTorch."""

from __future__ import annotations

from typing import Any

from torch.nn import functional

from nnlib.torch_backend.rules import Place, layer_rule
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
    return y.movedim(1, -1)
