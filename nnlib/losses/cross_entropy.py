"""Cross-entropy of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError
from nnlib.losses.loss import Loss, only_output
from nnlib.ops.loss import softmax_cross_entropy


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy of logits (classes,) against a class number."""

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        shape = only_output("cross_entropy", shapes)
        if len(shape) != 1:
            raise ShapeError(f"the loss cross_entropy wants logits (classes,) of {self.outputs[0]!r}, got {shape}")
        return ()

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        (logits,) = outputs
        loss, grad = softmax_cross_entropy(logits, target, shares, total=1.0)
        return loss, (grad,)
