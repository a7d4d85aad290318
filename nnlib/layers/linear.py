"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, he_normal, only_input


@dataclass(frozen=True)
class Linear(Layer):
    """``y = x·weight + bias`` with weight (features in, features out)."""

    out_features: int
    bias: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if len(shape) != 1:
            raise ShapeError(f"layer {self.name!r} (linear) wants vectors (features,), got {shape}: flatten first")
        return (self.out_features,)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        (features,) = only_input(self.name, input_shapes)
        shapes: dict[str, Shape] = {"weight": (features, self.out_features)}
        return shapes | {"bias": (self.out_features,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        shape = self.parameter_shapes(input_shapes)["weight"]
        weight = he_normal(shape, fan_in=shape[0], rng=rng, dtype=dtype)
        return {"weight": weight} | ({"bias": np.zeros(self.out_features, dtype=dtype)} if self.bias else {})

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(self.parameter_shapes(input_shapes)["weight"])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        y = x @ params["weight"]
        if self.bias:
            y += params["bias"]
        return y, x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x: Array = saved
        grads: dict[str, Array] = {"weight": x.T @ grad_output}
        if self.bias:
            grads["bias"] = grad_output.sum(axis=0)
        return (grad_output @ params["weight"].T if needs[0] else None,), grads
