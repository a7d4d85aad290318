"""Pooling of all pixels to one number per channel."""

from __future__ import annotations

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.average_pooling import global_average_backward, global_average_forward
from nnlib.ops.pooling import global_max_backward, global_max_forward


class GlobalAveragePool(Layer):
    """The mean of each channel: (..., C) to (C,)."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _channels(self.name, "global_average_pool", input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return global_average_forward(x), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (global_average_backward(grad_output, saved) if needs[0] else None,), {}


class GlobalMaxPool(Layer):
    """The largest number of each channel: (..., C) to (C,); the first of equal ones gets the gradient."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _channels(self.name, "global_max_pool", input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return global_max_forward(x), x

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (global_max_backward(saved, grad_output) if needs[0] else None,), {}


def _channels(name: str, kind: str, input_shapes: tuple[Shape, ...]) -> Shape:
    shape = only_input(name, input_shapes)
    if len(shape) < 2:
        raise ShapeError(f"layer {name!r} ({kind}) wants pixels or steps and channels (..., channels), got {shape}")
    return shape[-1:]
