"""Cross-entropy of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError
from nnlib.losses.loss import Loss, only_output
from nnlib.ops.loss import softmax_cross_entropy


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy of logits (..., classes) against class numbers (...).

    A sample's loss is the mean over its positions whose label is not negative. ``class_weights`` multiply a position's
    loss and do not change what it is divided by; ``label_smoothing`` is the part of a label that all classes share.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        shape = only_output("cross_entropy", shapes)
        if not shape:
            raise ShapeError(f"the loss cross_entropy wants logits (..., classes) of {self.outputs[0]!r}, got {shape}")
        if self.class_weights is not None and len(self.class_weights) != shape[-1]:
            raise ShapeError(
                f"the loss cross_entropy has weights of {len(self.class_weights)} classes, "
                f"but {self.outputs[0]!r} has {shape[-1]}"
            )
        return shape[:-1]

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        (logits,) = outputs
        weights = None if self.class_weights is None else np.array(self.class_weights, dtype=logits.dtype)
        loss, grad = softmax_cross_entropy(
            logits, target, shares, total=1.0, class_weights=weights, smoothing=self.label_smoothing
        )
        return loss, (grad,)
