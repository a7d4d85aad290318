"""The prior's term of a variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError
from nnlib.losses.loss import Loss
from nnlib.ops.gaussian_kl import gaussian_kl


@dataclass(frozen=True, kw_only=True)
class GaussianKL(Loss):
    """The divergence from the standard normal distribution, summed over a sample's numbers.

    ``outputs`` name means and log-variances; there is no target.
    """

    target: str | None = None

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            raise ShapeError(f"the loss gaussian_kl takes means and log-variances of one shape, got {shapes}")
        return None

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        mean, log_variance = outputs
        loss, grads = gaussian_kl(mean, log_variance, shares)
        return loss, grads
