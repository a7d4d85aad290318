"""Layers that arrange numbers anew and compute none."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.arrangement import (
    PadMode,
    concatenate_backward,
    concatenate_forward,
    pad_backward,
    pad_forward,
    slice_backward,
    slice_forward,
    transpose_backward,
    transpose_forward,
)
from nnlib.ops.embedding import gather_backward, gather_forward


class Flatten(Layer):
    """Images (H, W, C) as vectors (H·W·C,)."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return (prod(only_input(self.name, input_shapes)),)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return x.reshape(len(x), -1), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (grad_output.reshape(saved) if needs[0] else None,), {}


@dataclass(frozen=True)
class Reshape(Layer):
    """A sample's numbers, last axis fastest, under another shape; -1 stands for what is left."""

    shape: tuple[int, ...]

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        known = prod(length for length in self.shape if length != -1)
        left = prod(shape) // known if known else 0
        found = tuple(left if length == -1 else length for length in self.shape)
        if self.shape.count(-1) > 1 or min(found, default=1) < 1 or prod(found) != prod(shape):
            raise ShapeError(
                f"layer {self.name!r} (reshape) wants samples that can have the shape {self.shape}, got {shape}"
            )
        return found

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return x.reshape(len(x), *self.output_shape((x.shape[1:],))), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (grad_output.reshape(saved) if needs[0] else None,), {}


@dataclass(frozen=True)
class Transpose(Layer):
    """A sample's axes in the order ``axes``."""

    axes: tuple[int, ...]

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if sorted(self.axes) != list(range(len(shape))):
            raise ShapeError(f"layer {self.name!r} (transpose) wants samples with the axes {self.axes}, got {shape}")
        return tuple(shape[axis] for axis in self.axes)

    @property
    def batch_axes(self) -> tuple[int, ...]:
        """The order of a batch's axes."""
        return 0, *(axis + 1 for axis in self.axes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return transpose_forward(x, self.batch_axes), None

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (transpose_backward(grad_output, self.batch_axes) if needs[0] else None,), {}


@dataclass(frozen=True)
class Concatenate(Layer):
    """The inputs one behind the other along an axis of a sample, its last one (channels) by default."""

    axis: int = -1

    def place(self, shape: Shape) -> int:
        """The axis, from 0."""
        return self.axis % max(len(shape), 1)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        first = input_shapes[0] if input_shapes else ()
        if not -len(first) <= self.axis < len(first):
            raise ShapeError(f"layer {self.name!r} (concatenate) wants inputs with an axis {self.axis}, got {first}")
        axis = self.place(first)
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in input_shapes}
        if len(rest) > 1 or any(len(shape) != len(first) for shape in input_shapes):
            raise ShapeError(
                f"layer {self.name!r} (concatenate) wants inputs alike in all axes but {axis}, got {input_shapes}"
            )
        return (*first[:axis], sum(shape[axis] for shape in input_shapes), *first[axis + 1 :])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        axis = self.place(inputs[0].shape[1:]) + 1
        return concatenate_forward(inputs, axis), [x.shape[axis] for x in inputs]

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        parts = concatenate_backward(grad_output, saved, self.place(grad_output.shape[1:]) + 1)
        return tuple(part if need else None for part, need in zip(parts, needs, strict=True)), {}


@dataclass(frozen=True)
class Slice(Layer):
    """Of an axis of a sample the places from ``start`` to before ``stop``, as Python's slices have them."""

    axis: int
    start: int | None
    stop: int | None
    step: int = 1

    def places(self, shape: Shape) -> range:
        """The places taken. Raises ShapeError if there are none, or no such axis."""
        if -len(shape) <= self.axis < len(shape) and self.step != 0:
            found = range(*slice(self.start, self.stop, self.step).indices(shape[self.axis]))
            if found:
                return found
        raise ShapeError(
            f"layer {self.name!r} (slice) wants something in {self.start}:{self.stop}:{self.step} of axis {self.axis}, "
            f"got {shape}"
        )

    def index(self, shape: Shape) -> tuple[slice, ...]:
        """The index of a batch of samples of ``shape``."""
        rest = (slice(None),) * (self.axis % len(shape) + 1)
        return (*rest, slice(self.start, self.stop, self.step))

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        count, axis = len(self.places(shape)), self.axis % len(shape)
        return (*shape[:axis], count, *shape[axis + 1 :])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return slice_forward(x, self.index(x.shape[1:])), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (slice_backward(grad_output, saved, self.index(saved[1:])) if needs[0] else None,), {}


@dataclass(frozen=True)
class Pad(Layer):
    """Numbers before and behind each axis of a sample: ``value``, the sample mirrored at its ends, or its outermost.

    ``widths``: a pair for each axis; with ``constant``, negative ones cut away.
    """

    widths: tuple[tuple[int, int], ...]
    mode: PadMode = "constant"
    value: float = 0.0

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if len(shape) == len(self.widths):
            found = tuple(before + length + behind for length, (before, behind) in zip(shape, self.widths, strict=True))
            widest = [max(each) for each in self.widths]
            mirrored = self.mode != "reflect" or all(
                width < length for width, length in zip(widest, shape, strict=True)
            )
            if min(found) > 0 and mirrored and (self.mode == "constant" or min(map(min, self.widths)) >= 0):
                return found
        raise ShapeError(f"layer {self.name!r} (pad) cannot put {self.widths} ({self.mode}) around samples of {shape}")

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return pad_forward(x, ((0, 0), *self.widths), mode=self.mode, value=self.value), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (pad_backward(grad_output, saved, ((0, 0), *self.widths), mode=self.mode) if needs[0] else None,), {}


@dataclass(frozen=True)
class Select(Layer):
    """Of an axis of a sample the places ``indices``, in that order; negative ones count from the end."""

    axis: int
    indices: tuple[int, ...]

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if -len(shape) <= self.axis < len(shape):
            length, axis = shape[self.axis], self.axis % len(shape)
            if self.indices and all(-length <= index < length for index in self.indices):
                return (*shape[:axis], len(self.indices), *shape[axis + 1 :])
        raise ShapeError(
            f"layer {self.name!r} (select) wants places {self.indices} of axis {self.axis} to choose from, got {shape}"
        )

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        axis = self.axis % (x.ndim - 1) + 1
        return gather_forward(x, np.array(self.indices), axis), x.shape

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None,), {}
        axis = self.axis % (len(saved) - 1) + 1
        return (gather_backward(grad_output, np.array(self.indices), saved, axis),), {}
