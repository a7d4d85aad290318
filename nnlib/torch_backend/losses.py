"""Losses by PyTorch: Σ shares · loss of each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn import functional

from nnlib.torch_backend.rules import loss_rule
from nnlib.torch_backend.tensors import Tensor

_REGRESSIONS: Final[dict[str, Callable[[Any, Tensor, Tensor], Tensor]]] = {
    "MeanSquaredError": lambda loss, y, target: functional.mse_loss(y, target, reduction="none"),
    "L1": lambda loss, y, target: functional.l1_loss(y, target, reduction="none"),
    "SmoothL1": lambda loss, y, target: functional.smooth_l1_loss(y, target, reduction="none", beta=loss.beta),
}


@loss_rule(*_REGRESSIONS)
def regression(loss: Any, outputs: tuple[Tensor, ...], target: Tensor | None, shares: Tensor) -> Tensor:
    """The mean over a sample's numbers."""
    assert target is not None
    (y,) = outputs
    each = _REGRESSIONS[type(loss).__name__](loss, y, target.to(y.dtype))
    return (each.reshape(len(each), -1).mean(dim=1) * shares).sum()


@loss_rule("CrossEntropy")
def cross_entropy(loss: Any, outputs: tuple[Tensor, ...], target: Tensor | None, shares: Tensor) -> Tensor:
    """The mean over a sample's positions whose label is not negative."""
    assert target is not None
    (logits,) = outputs
    labels = target.long().reshape(-1)
    weights = None if loss.class_weights is None else logits.new_tensor(loss.class_weights)
    each = functional.cross_entropy(
        logits.reshape(len(labels), -1),
        labels.clamp(min=0),
        weight=weights,
        label_smoothing=loss.label_smoothing,
        reduction="none",
    )
    return _over_positions(each.reshape(len(logits), -1), (labels >= 0).reshape(len(logits), -1), shares)


@loss_rule("BinaryCrossEntropy")
def binary_cross_entropy(loss: Any, outputs: tuple[Tensor, ...], target: Tensor | None, shares: Tensor) -> Tensor:
    """Of logits or probabilities; positions with a negative target are left out."""
    assert target is not None
    (y,) = outputs
    truth = target.to(y.dtype)
    seen = truth >= 0
    if loss.logits:
        positive = y.new_tensor(loss.positive_weight)
        each = functional.binary_cross_entropy_with_logits(y, truth.clamp(min=0), pos_weight=positive, reduction="none")
    else:
        each = functional.binary_cross_entropy(y, truth.clamp(min=0), reduction="none")
    return _over_positions(each.reshape(len(y), -1), seen.reshape(len(y), -1), shares)


@loss_rule("GaussianKL")
def gaussian_kl(loss: Any, outputs: tuple[Tensor, ...], target: Tensor | None, shares: Tensor) -> Tensor:
    """Summed over a sample's numbers."""
    mean, log_variance = outputs
    each = (mean * mean + torch.expm1(log_variance) - log_variance) / 2
    return (each.reshape(len(each), -1).sum(dim=1) * shares).sum()


def _over_positions(each: Tensor, seen: Tensor, shares: Tensor) -> Tensor:
    """Of losses (B, positions) the mean over those of a sample that count, times its share."""
    counts = seen.sum(dim=1).clamp(min=1)
    return (each * seen * (shares / counts)[:, None]).sum()
