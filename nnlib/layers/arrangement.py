"""Layers that arrange numbers anew."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input


@dataclass(frozen=True)
class Flatten(Layer):
    """Images (H, W, C) as vectors (H·W·C,)."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return (prod(only_input(self.name, input_shapes)),)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return x.reshape(len(x), -1), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (grad_output.reshape(saved) if needs[0] else None,), {}
