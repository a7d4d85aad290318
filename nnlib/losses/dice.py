"""The overlap of what is predicted with what is true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError
from nnlib.losses.loss import Loss, only_output
from nnlib.ops.dice import binary_dice, binary_dice_with_logits, dice, dice_with_logits


@dataclass(frozen=True, kw_only=True)
class Dice(Loss):
    """1 minus the soft Dice coefficient: see :mod:`nnlib.ops.dice`.

    Of logits, or else probabilities, (..., classes) against class numbers (...); ``binary``: of one class (...)
    against its truth (...). Positions with a negative target are left out.
    """

    logits: bool = True
    binary: bool = False
    smooth: float = 1.0
    squared: bool = False

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        shape = only_output("dice", shapes)
        if not self.binary and not shape:
            raise ShapeError(f"the loss dice wants {self.outputs[0]!r} with classes (..., classes), got {shape}")
        return shape if self.binary else shape[:-1]

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        if self.binary:
            of = binary_dice_with_logits if self.logits else binary_dice
            loss, grad = of(outputs[0], target, shares, smooth=self.smooth, squared=self.squared)
        else:
            of_classes = dice_with_logits if self.logits else dice
            loss, grad = of_classes(outputs[0], target, shares, smooth=self.smooth, squared=self.squared)
        return loss, (grad,)
