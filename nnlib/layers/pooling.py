"""Pooling layers."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.pooling import max_pool_backward, max_pool_forward


@dataclass(frozen=True)
class MaxPool(Layer):
    """The largest number under each window of images (H, W, C)."""

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

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return max_pool_forward(x, self.kernel, self.stride), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None,), {}
        return (max_pool_backward(saved, grad_output, self.kernel, self.stride),), {}
