"""What a loss is: outputs of a network against targets; like a layer it knows neither machine nor time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnlib.layers.layer import Array, Shape, ShapeError


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A frozen description of one term of the loss, ``weight`` times the mean over the samples.

    ``outputs`` name the nodes that it takes, ``target`` the batch's array that it compares them with, if any.
    """

    outputs: tuple[str, ...]
    target: str | None = "label"
    weight: float = 1.0

    def target_shape(self, shapes: tuple[Shape, ...]) -> Shape | None:
        """Shape of a sample's target for outputs of ``shapes``, None without one.

        Raises ShapeError naming the loss, what it got and what it wanted.
        """
        raise NotImplementedError

    def forward(
        self, outputs: tuple[Array, ...], target: NDArray[Any] | None, shares: Array
    ) -> tuple[float, tuple[Array | None, ...]]:
        """Σ shares · loss of each sample, and its gradients by the outputs.

        ``shares`` (B,): each sample's part of the mean, times ``weight``. None: a gradient that is zero.
        """
        raise NotImplementedError


def only_output(loss: str, shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one output. Raises ShapeError if there are more or none."""
    if len(shapes) != 1:
        raise ShapeError(f"the loss {loss} takes one output, got {len(shapes)}: {shapes}")
    return shapes[0]
