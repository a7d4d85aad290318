"""What a layer is: shape rules, parameters and numerics; it knows neither machine nor time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating]
Shape: TypeAlias = tuple[int, ...]
Params: TypeAlias = Mapping[str, Array]
Saved: TypeAlias = Any
"""What forward keeps for backward: the layer's own business."""


class ShapeError(ValueError):
    """A layer got inputs of a shape it cannot take."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a forward pass is for.

    ``key`` decides the pass's random numbers together with the layer's name and the samples' numbers, which begin at
    ``first_sample``: how samples are shared out changes none of them.
    """

    training: bool = False
    key: int = 0
    first_sample: int = 0


INFERENCE = Run()


@dataclass(frozen=True)
class Layer:
    """A frozen description of one layer; shapes are per sample, arrays have the batch in front.

    A layer without parameters need not say so. ``name`` is the layer's name in its graph. A kind that adds no field is
    not decorated again: it has what this one has.
    """

    name: str

    @property
    def mixes_samples(self) -> bool:
        """True if in training a sample's output depends on the other samples of its batch."""
        return False

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Shape of the output. Raises ShapeError naming the layer, what it got and what it wanted."""
        raise NotImplementedError

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        """Shapes of the learned parameters by name."""
        return {}

    def statistic_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        """Shapes of the arrays that follow the samples seen and are not learned, by name."""
        return {}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        """Fresh parameters and statistics, drawn from ``rng``."""
        return {}

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        """The output, and what :meth:`backward` needs; ``params`` are parameters and statistics."""
        raise NotImplementedError

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        """Gradients by the inputs (None where ``needs`` says that nobody wants it) and by the parameters."""
        raise NotImplementedError

    def statistics(self, params: Params, saved: Saved) -> dict[str, Array]:
        """The statistics after a forward pass in training, from those before it in ``params``."""
        return {}

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        """Multiply-accumulates of a sample in the layer's matrix products."""
        return 0


def only_input(layer: str, input_shapes: tuple[Shape, ...]) -> Shape:
    """The shape of the one input. Raises ShapeError if there are more or none."""
    if len(input_shapes) != 1:
        raise ShapeError(f"layer {layer!r} takes one input, got {len(input_shapes)}: {input_shapes}")
    return input_shapes[0]
