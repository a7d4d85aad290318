"""Convolution layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, he_normal, only_input
from nnlib.ops.convolution import (
    channel_sums,
    conv2d_forward,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    kept_patches,
    output_size,
)


@dataclass(frozen=True)
class Conv2d(Layer):
    """Convolution of images (H, W, Ni) with weights (kh, kw, Ni, No)."""

    out_channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if len(shape) != 3:
            raise ShapeError(f"layer {self.name!r} (conv2d) wants images (height, width, channels), got {shape}")
        rows = output_size(shape[0], self.kernel[0], self.stride, self.padding)
        columns = output_size(shape[1], self.kernel[1], self.stride, self.padding)
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"layer {self.name!r} (conv2d): the kernel {self.kernel} does not fit images {shape} "
                f"with padding {self.padding}"
            )
        return rows, columns, self.out_channels

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = only_input(self.name, input_shapes)[-1]
        shapes: dict[str, Shape] = {"weight": (*self.kernel, channels, self.out_channels)}
        return shapes | {"bias": (self.out_channels,)} if self.bias else shapes

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        shapes = self.parameter_shapes(input_shapes)
        weight = he_normal(shapes["weight"], fan_in=prod(shapes["weight"][:-1]), rng=rng, dtype=dtype)
        return {"weight": weight} | ({"bias": np.zeros(self.out_channels, dtype=dtype)} if self.bias else {})

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return prod(self.parameter_shapes(input_shapes)["weight"]) * prod(self.output_shape(input_shapes)[:-1])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        options = {"stride": self.stride, "padding": self.padding}
        patches = kept_patches(x, self.kernel, **options)
        return conv2d_forward(x, params["weight"], params.get("bias"), **options, patches=patches), (x, patches)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        x, patches = saved
        options = {"stride": self.stride, "padding": self.padding}
        grads = {"weight": conv2d_weight_gradient(grad_output, x, self.kernel, **options, patches=patches)}
        if self.bias:
            grads["bias"] = channel_sums(grad_output)
        if not needs[0]:
            return (None,), grads
        grad_x = conv2d_input_gradient(grad_output, params["weight"], x.shape, **options)
        return (grad_x,), grads
