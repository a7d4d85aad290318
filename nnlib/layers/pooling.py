"""Pooling layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Params, Saved, Shape, ShapeError, only_input
from nnlib.ops.pooling import max_pool_backward, max_pool_forward


@dataclass(frozen=True)
class MaxPool:
    """The largest number under each window of images (H, W, C)."""

    name: str
    kernel: tuple[int, int]
    stride: int

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if len(shape) != 3 or shape[0] < self.kernel[0] or shape[1] < self.kernel[1]:
            raise ShapeError(
                f"layer {self.name!r} (max_pool) wants images (height, width, channels) of at least "
                f"{self.kernel}, got {shape}"
            )
        rows = (shape[0] - self.kernel[0]) // self.stride + 1
        columns = (shape[1] - self.kernel[1]) // self.stride + 1
        return rows, columns, shape[2]

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return {}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return {}

    def forward(self, params: Params, inputs: tuple[Array, ...]) -> tuple[Array, Saved]:
        (x,) = inputs
        return max_pool_forward(x, self.kernel, self.stride), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, *, need_input_gradient: bool = True
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not need_input_gradient:
            return (None,), {}
        return (max_pool_backward(saved, grad_output, self.kernel, self.stride),), {}
