"""Losses of numbers against numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape
from nnlib.losses.loss import Loss, only_output
from nnlib.ops.regression_loss import mean_absolute_error, mean_squared_error, smooth_l1


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Loss):
    """``(output − target)²``, the mean over all numbers of a sample."""

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        return only_output("mean_squared_error", shapes)

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        loss, grad = mean_squared_error(outputs[0], target, shares)
        return loss, (grad,)


@dataclass(frozen=True, kw_only=True)
class L1(Loss):
    """``|output − target|``, the mean over all numbers of a sample."""

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        return only_output("l1", shapes)

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        loss, grad = mean_absolute_error(outputs[0], target, shares)
        return loss, (grad,)


@dataclass(frozen=True, kw_only=True)
class SmoothL1(Loss):
    """``d²/(2·beta)`` of differences d below ``beta``, ``|d| − beta/2`` above, the mean over a sample's numbers."""

    beta: float = 1.0

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        return only_output("smooth_l1", shapes)

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        assert target is not None
        loss, grad = smooth_l1(outputs[0], target, shares, beta=self.beta)
        return loss, (grad,)
