"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from nnlib.layers.initial import HE_NORMAL, Initial
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.convolution import channel_sums
from nnlib.ops.linear import linear_forward, linear_input_gradient, linear_weight_gradient


@dataclass(frozen=True)
class Linear(Layer):
    """``y = x·weight + bias`` along the last axis, weight (features in, features out) or, ``transposed``, (out, in)."""

    out_features: int
    bias: bool = True
    transposed: bool = False
    initial: Initial = field(default=HE_NORMAL, kw_only=True)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if not shape:
            raise ShapeError(f"layer {self.name!r} (linear) wants vectors (..., features), got {shape}")
        return *shape[:-1], self.out_features

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        features = only_input(self.name, input_shapes)[-1]
        weight = (self.out_features, features) if self.transposed else (features, self.out_features)
        shapes: dict[str, Shape] = {"weight": weight}
        return shapes | {"bias": (self.out_features,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        features = only_input(self.name, input_shapes)[-1]
        # drawn in one order, so that both kinds begin alike
        weight = self.initial.draw(
            (features, self.out_features), fan_in=features, fan_out=self.out_features, rng=rng, dtype=dtype
        )
        if self.transposed:
            weight = np.ascontiguousarray(weight.T)
        return {"weight": weight} | ({"bias": np.zeros(self.out_features, dtype=dtype)} if self.bias else {})

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(only_input(self.name, input_shapes)) * self.out_features

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return linear_forward(x, params["weight"], params.get("bias"), transposed=self.transposed), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x: Array = saved
        grads = {"weight": linear_weight_gradient(grad_output, x, transposed=self.transposed)}
        if self.bias:
            grads["bias"] = channel_sums(grad_output)
        if not needs[0]:
            return (None,), grads
        return (linear_input_gradient(grad_output, params["weight"], transposed=self.transposed),), grads
