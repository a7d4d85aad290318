"""Activation layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Params, Saved, Shape, only_input


@dataclass(frozen=True)
class ReLU:
    """``max(x, 0)``; the gradient at 0 is 0."""

    name: str

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return {}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return {}

    def forward(self, params: Params, inputs: tuple[Array, ...]) -> tuple[Array, Saved]:
        (x,) = inputs
        y = np.maximum(x, 0)
        return y, y

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, *, need_input_gradient: bool = True
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (grad_output * (saved > 0) if need_input_gradient else None,), {}
