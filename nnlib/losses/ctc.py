"""Connectionist temporal classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError
from nnlib.losses.loss import Loss
from nnlib.ops.ctc import ctc_loss


@dataclass(frozen=True, kw_only=True)
class CtcLoss(Loss):
    """-log of the probability of a target over all its alignments with logits (T, classes) of an input of T steps.

    ``outputs``: the logits and, if inputs differ, the node or input of their lengths (). Targets are ``labels`` classes
    other than ``blank``, by default as many as there are steps, filled up by -1. ``normalised``: a sample's loss is
    divided by the number of its labels, as PyTorch's mean does. A target too long for its input costs inf, or 0 with
    ``zero_infinity``.
    """

    blank: int = 0
    normalised: bool = False
    labels: int | None = None
    zero_infinity: bool = False

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        if len(shapes) not in (1, 2) or len(shapes[0]) != 2 or shapes[1:] not in ((), ((),)):
            raise ShapeError(f"the loss ctc wants logits (T, classes) and perhaps lengths (), got {shapes}")
        steps, classes = shapes[0]
        if not 0 <= self.blank < classes:
            raise ShapeError(f"the loss ctc has the blank {self.blank}, but {self.outputs[0]!r} has {classes} classes")
        return (steps if self.labels is None else self.labels,)

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        lengths = outputs[1].astype(np.int64) if len(outputs) == 2 else None
        labels = target.astype(np.int64)
        labels = labels[:, : int((labels >= 0).sum(axis=1).max(initial=0))]  # no positions that nobody needs
        losses, grad = ctc_loss(
            outputs[0],
            labels,
            lengths,
            blank=self.blank,
            zero_infinity=self.zero_infinity,
            reduction="none",
        )
        weights = shares
        if self.normalised:
            weights = shares / np.maximum((labels >= 0).sum(axis=1), 1).astype(shares.dtype)
        grad = np.where((weights == 0)[:, None, None], 0, grad) * weights[:, None, None]
        loss = np.dot(weights[weights != 0].astype(np.float64), losses[weights != 0].astype(np.float64))
        return float(loss), (grad, *(None,) * (len(outputs) - 1))
