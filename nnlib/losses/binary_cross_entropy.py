"""Cross-entropy of two cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError
from nnlib.losses.loss import Loss, only_output
from nnlib.ops.binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_with_logits


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Loss):
    """Of each number, a logit or else a probability, against the target's probability of the first case.

    A sample's loss is the mean over its positions whose target is not negative. ``positive_weight`` multiplies the
    first case's part; only with logits.
    """

    logits: bool = True
    positive_weight: float = 1.0

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        if not self.logits and self.positive_weight != 1:
            raise ShapeError("the loss binary_cross_entropy has a positive_weight only with logits")
        return only_output("binary_cross_entropy", shapes)

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        if self.logits:
            loss, grad = binary_cross_entropy_with_logits(
                outputs[0], target, shares, positive_weight=self.positive_weight
            )
        else:
            loss, grad = binary_cross_entropy(outputs[0], target, shares)
        return loss, (grad,)
