"""Activation layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input


@dataclass(frozen=True)
class ReLU(Layer):
    """``max(x, 0)``; the gradient at 0 is 0."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        y = np.maximum(x, 0)
        return y, y

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (grad_output * (saved > 0) if needs[0] else None,), {}
