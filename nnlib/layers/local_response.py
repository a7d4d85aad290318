"""Normalisation by the neighbouring channels."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.layers.normalisation import Gradients, with_channels
from nnlib.ops.local_response import local_response_norm_backward, local_response_norm_forward


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """``y = x·(k + alpha/size·Σ x²)^(−beta)``, the sum over ``size`` channels around each of (..., C)."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = with_channels(self, input_shapes)
        if self.size < 1:
            raise ShapeError(
                f"layer {self.name!r} (local_response_norm) wants a window of at least 1 channel, got {self.size}"
            )
        return shape

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return local_response_norm_forward(x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k)[0], x

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        if not needs[0]:
            return (None,), {}
        size, alpha, beta = self.size, self.alpha, self.beta
        # computed again rather than kept: it is as large as the input
        _, scale = local_response_norm_forward(saved, size=size, alpha=alpha, beta=beta, k=self.k)
        return (local_response_norm_backward(grad_output, saved, scale, size=size, alpha=alpha, beta=beta),), {}
