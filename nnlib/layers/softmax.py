"""Softmax and its logarithm as layers."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.softmax import log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward


@dataclass(frozen=True)
class Softmax(Layer):
    """``eˣ/Σeˣ`` along an ``axis`` of a sample."""

    axis: int = -1

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _checked(self.name, "softmax", only_input(self.name, input_shapes), self.axis)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        y = softmax_forward(inputs[0], axis=batch_axis(self.axis))
        return y, y

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (softmax_backward(saved, grad_output, axis=batch_axis(self.axis)) if needs[0] else None,), {}


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """``x − log Σeˣ`` along an ``axis`` of a sample."""

    axis: int = -1

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _checked(self.name, "log_softmax", only_input(self.name, input_shapes), self.axis)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        y = log_softmax_forward(inputs[0], axis=batch_axis(self.axis))
        return y, y

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (log_softmax_backward(saved, grad_output, axis=batch_axis(self.axis)) if needs[0] else None,), {}


def batch_axis(axis: int) -> int:
    """The axis of a batch that is this axis of a sample."""
    return axis + 1 if axis >= 0 else axis


def _checked(name: str, kind: str, shape: Shape, axis: int) -> Shape:
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"layer {name!r} ({kind}) goes along axis {axis} of a sample, got samples of shape {shape}")
    return shape
