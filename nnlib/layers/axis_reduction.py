"""Sums and means over axes of a sample, and one sample repeated along axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.axis_reduction import Reduction, reduce_backward, reduce_forward
from nnlib.ops.binary import sum_to_shape


@dataclass(frozen=True)
class Mean(Layer):
    """The mean over ``axes`` of a sample; ``keep`` leaves them one long."""

    axes: tuple[int, ...]
    keep: bool = False

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _reduced(self.name, "mean", only_input(self.name, input_shapes), self.axes, self.keep)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return _forward("mean", x, self.axes, self.keep), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (_backward("mean", grad_output, saved, self.axes) if needs[0] else None,), {}


@dataclass(frozen=True)
class Sum(Layer):
    """The sum over ``axes`` of a sample; ``keep`` leaves them one long."""

    axes: tuple[int, ...]
    keep: bool = False

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return _reduced(self.name, "sum", only_input(self.name, input_shapes), self.axes, self.keep)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return _forward("sum", x, self.axes, self.keep), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (_backward("sum", grad_output, saved, self.axes) if needs[0] else None,), {}


@dataclass(frozen=True)
class Expand(Layer):
    """A sample repeated along its axes of length 1 until it has ``shape``; axes may be added in front."""

    shape: tuple[int, ...]

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        try:
            if np.broadcast_shapes(shape, self.shape) == self.shape:
                return self.shape
        except ValueError:
            pass
        raise ShapeError(f"layer {self.name!r} (expand) wants a sample that repeats to {self.shape}, got {shape}")

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        wide = x.reshape(len(x), *(1,) * (len(self.shape) + 1 - x.ndim), *x.shape[1:])
        return np.broadcast_to(wide, (len(x), *self.shape)).copy(), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None,), {}
        ones = (1,) * (grad_output.ndim - len(saved))
        return (sum_to_shape(grad_output, (saved[0], *ones, *saved[1:])).reshape(saved),), {}


def batch_axes(axes: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    """Axes of a sample of ``shape``, from 0 or from the end, as those of a batch."""
    return tuple(sorted(axis % len(shape) + 1 for axis in axes))


def _reduced(name: str, kind: str, shape: Shape, axes: tuple[int, ...], keep: bool) -> Shape:
    if axes and all(-len(shape) <= axis < len(shape) for axis in axes):
        places = {axis % len(shape) for axis in axes}
        if len(places) == len(axes):
            return tuple(
                1 if axis in places else length for axis, length in enumerate(shape) if keep or axis not in places
            )
    raise ShapeError(f"layer {name!r} ({kind}) wants samples with the axes {axes}, got {shape}")


def _forward(reduction: Reduction, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    return reduce_forward(x, batch_axes(axes, x.shape[1:]), reduction=reduction, keepdims=keep)


def _backward(reduction: Reduction, grad: Array, shape: Shape, axes: tuple[int, ...]) -> Array:
    return reduce_backward(grad, shape, batch_axes(axes, shape[1:]), reduction=reduction)
