"""Layers that pick rows by number: embeddings, and gathering along an axis."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnlib.layers.initial import Initial, normal
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError, only_input
from nnlib.ops.embedding import add_rows, embedding_backward, embedding_forward


@dataclass(frozen=True)
class Embedding(Layer):
    """Tokens (...) from 0 to ``count`` - 1 to their rows (..., features) of a learned table."""

    count: int
    features: int
    initial: Initial = field(default=normal(1.0))

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return (*only_input(self.name, input_shapes), self.features)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return {"weight": (self.count, self.features)}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        shape = (self.count, self.features)
        return {"weight": self.initial.draw(shape, fan_in=self.count, fan_out=self.features, rng=rng, dtype=dtype)}

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        tokens = inputs[0].astype(np.int64, copy=False)
        return embedding_forward(tokens, params["weight"]), tokens

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (None,), {"weight": embedding_backward(saved, grad_output, self.count)}


@dataclass(frozen=True)
class PositionEmbedding(Layer):
    """A learned number for each place and channel of a sequence (T, C) is added.

    ``positions``: rows of the table, of which the first T are taken; by default there are no more.
    """

    positions: int | None = None
    initial: Initial = field(default=normal(0.02))

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        shape = only_input(self.name, input_shapes)
        if len(shape) != 2:
            raise ShapeError(
                f"layer {self.name!r} (position_embedding) wants sequences (length, channels), got {shape}"
            )
        if self.positions is not None and shape[0] > self.positions:
            raise ShapeError(f"layer {self.name!r} (position_embedding) has {self.positions} positions, got {shape}")
        return shape

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        length, channels = only_input(self.name, input_shapes)
        return {"weight": (self.positions or length, channels)}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        rows, channels = shape = self.parameter_shapes(input_shapes)["weight"]
        return {"weight": self.initial.draw(shape, fan_in=rows, fan_out=channels, rng=rng, dtype=dtype)}

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        return x + params["weight"][: x.shape[1]], None

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        grad = np.zeros_like(params["weight"])
        np.sum(grad_output, axis=0, out=grad[: grad_output.shape[1]])
        return (grad_output if needs[0] else None,), {"weight": grad}


@dataclass(frozen=True)
class Gather(Layer):
    """The places of a sample's ``axis`` that the second input's indices (...), from 0 on, name for that sample.

    They replace the axis: (..., L, ...) and (K,) give (..., K, ...).
    """

    axis: int = 0

    def place(self, shape: Shape) -> int:
        """The axis, from 0."""
        return self.axis % len(shape)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        if len(input_shapes) != 2 or not -len(input_shapes[0]) <= self.axis < len(input_shapes[0]):
            raise ShapeError(
                f"layer {self.name!r} (gather) wants a sample with an axis {self.axis} and indices, got {input_shapes}"
            )
        shape, indices = input_shapes
        axis = self.place(shape)
        return (*shape[:axis], *indices, *shape[axis + 1 :])

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        x, indices = inputs
        picked = indices.astype(np.int64, copy=False)
        axis = self.place(x.shape[1:])
        first = np.moveaxis(x, axis + 1, 1)
        if picked.size and not (picked.min() >= 0 and picked.max() < first.shape[1]):
            raise ValueError(f"layer {self.name!r} (gather): indices from {picked.min()} to {picked.max()}")
        found = first[np.arange(len(x))[:, None], picked.reshape(len(x), -1)]
        y = np.moveaxis(found, 1, axis + 1)
        return y.reshape(len(x), *self.output_shape((x.shape[1:], picked.shape[1:]))), (picked, x.shape)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None, None), {}
        picked, shape = saved
        axis = self.place(shape[1:])
        batch, length = shape[0], shape[axis + 1]
        before, behind = shape[1 : axis + 1], shape[axis + 2 :]
        grad = np.moveaxis(grad_output.reshape(batch, *before, -1, *behind), axis + 1, 1)
        count = grad.shape[1]
        rows = (picked.reshape(batch, -1) + np.arange(batch)[:, None] * length).reshape(-1)
        total = add_rows(rows, grad.reshape(batch * count, -1), batch * length)
        return (np.moveaxis(total.reshape(batch, length, *before, *behind), 1, axis + 1), None), {}
