"""Losses by PyTorch: Σ shares · loss of each sample."""

from __future__ import annotations

from typing import Any

from torch.nn import functional

from nnlib.torch_backend.host import host_loss
from nnlib.torch_backend.rules import loss_rule
from nnlib.torch_backend.tensors import Tensor


@loss_rule("CrossEntropy")
def cross_entropy(loss: Any, outputs: tuple[Tensor, ...], target: Tensor | None, shares: Tensor) -> Tensor:
    """Of one class for each sample; more of them in a sample by the loss's own numerics."""
    (logits,) = outputs
    if logits.ndim != 2 or target is None:
        return host_loss(loss, outputs, target, shares)
    return (functional.cross_entropy(logits, target.long(), reduction="none") * shares).sum()
