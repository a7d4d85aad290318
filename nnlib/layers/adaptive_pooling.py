"""Pooling to a given size, of bins that cover the image."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.adaptive_pooling import (
    adaptive_average_backward,
    adaptive_average_forward,
    adaptive_max_backward,
    adaptive_max_forward,
)
from nnlib.ops.reach import Pair, pair


@dataclass(frozen=True)
class AdaptiveAveragePool(Layer):
    """The means of ``size`` bins that cover images (H, W, C), rows and columns of them or one number for both."""

    size: Pair

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _binned(self.name, "adaptive_average_pool", input_shapes, self.size)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return adaptive_average_forward(x, pair(self.size)), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (adaptive_average_backward(grad_output, saved) if needs[0] else None,), {}


@dataclass(frozen=True)
class AdaptiveMaxPool(Layer):
    """The largest numbers of ``size`` bins that cover images (H, W, C), rows and columns of them or one number."""

    size: Pair

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _binned(self.name, "adaptive_max_pool", input_shapes, self.size)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return adaptive_max_forward(x, pair(self.size)), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (adaptive_max_backward(saved, grad_output) if needs[0] else None,), {}


def _binned(name: str, kind: str, input_shapes: tuple[Shape, ...], size: Pair) -> Shape:
    shape = only_input(name, input_shapes)
    if len(shape) != 3 or min(pair(size)) < 1:
        raise ShapeError(
            f"layer {name!r} ({kind}) wants images (height, width, channels) for {pair(size)} bins, got {shape}"
        )
    return (*pair(size), shape[-1])
