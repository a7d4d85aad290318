"""What a layer is: shape rules, parameters and numerics; it knows neither machine nor time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating]
Shape: TypeAlias = tuple[int, ...]
Params: TypeAlias = Mapping[str, Array]
Saved: TypeAlias = Any
"""What forward keeps for backward: the layer's own business."""


class ShapeError(ValueError):
    """A layer got inputs of a shape it cannot take."""


class Layer(Protocol):
    """A frozen description of one layer; shapes are per sample, arrays have the batch in front."""

    @property
    def name(self) -> str:
        """The layer's name in its graph."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Shape of the output. Raises ShapeError naming the layer, what it got and what it wanted."""

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        """Shapes of the parameters by name."""

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        """Fresh parameters, drawn from ``rng``."""

    def forward(self, params: Params, inputs: tuple[Array, ...]) -> tuple[Array, Saved]:
        """The output, and what :meth:`backward` needs."""

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, *, need_input_gradient: bool = True
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        """Gradients by the inputs (None where not needed) and by the parameters."""


def only_input(layer: str, input_shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one input. Raises ShapeError if there are more or none."""
    if len(input_shapes) != 1:
        raise ShapeError(f"layer {layer!r} takes one input, got {len(input_shapes)}: {input_shapes}")
    return input_shapes[0]


def he_normal(shape: Shape, *, fan_in: int, rng: np.random.Generator, dtype: np.dtype[np.floating]) -> Array:
    """Normal numbers of variance 2 / fan_in (He et al. 2015), drawn in float64 whatever the dtype."""
    drawn: Array = rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)
    return drawn.astype(dtype)
