"""Products of two activations."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.ops.matmul import matmul_backward, matmul_forward


@dataclass(frozen=True)
class MatMul(Layer):
    """``op(a)·op(b)`` of each sample's matrices: (..., m, k) and (..., k, n) to (..., m, n); leading axes broadcast.

    ``transpose_a``: a comes as (..., k, m); ``transpose_b``: b comes as (..., n, k).
    """

    transpose_a: bool = False
    transpose_b: bool = False

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        wanted = "two stacks of matrices (..., m, k) and (..., k, n)"
        if len(input_shapes) != 2 or any(len(shape) < 2 for shape in input_shapes):
            raise ShapeError(f"layer {self.name!r} (matrix product) wants {wanted}, got {input_shapes}")
        leading, m, n, _ = self.sizes(input_shapes)
        return *leading, m, n

    def sizes(self, input_shapes: tuple[Shape, ...]) -> tuple[Shape, int, int, int]:
        """Leading axes of the products, and m, n and k. Raises ShapeError if the matrices do not fit."""
        a, b = input_shapes
        m, depth = a[-2:][::-1] if self.transpose_a else a[-2:]
        k, n = b[-2:][::-1] if self.transpose_b else b[-2:]
        try:
            leading = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            depth = -1
        if depth != k:
            wanted = "matrices that fit and leading axes that broadcast"
            raise ShapeError(f"layer {self.name!r} (matrix product) wants {wanted}, got {input_shapes}")
        return leading, m, n, k

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        leading, m, n, k = self.sizes(input_shapes)
        return prod(leading) * m * n * k

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        a, b = self._aligned(inputs)
        return matmul_forward(a, b, transpose_a=self.transpose_a, transpose_b=self.transpose_b), inputs

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        inputs: tuple[Array, ...] = saved
        a, b = self._aligned(inputs)
        grads = matmul_backward(
            grad_output,
            a,
            b,
            transpose_a=self.transpose_a,
            transpose_b=self.transpose_b,
            needs=(needs[0], needs[1]),
        )
        shaped = (None if grad is None else grad.reshape(x.shape) for grad, x in zip(grads, inputs, strict=True))
        return tuple(shaped), {}

    @staticmethod
    def _aligned(inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        """With as many axes each, the samples in front."""
        axes = max(x.ndim for x in inputs)
        a, b = (x.reshape(len(x), *(1,) * (axes - x.ndim), *x.shape[1:]) for x in inputs)
        return a, b
