"""A rank's part of layers whose random numbers depend on which part it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.attention import DotProductAttention
from nnlib.layers.embedding import Embedding
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input
from nnlib.layers.randomness import layer_key
from nnlib.ops.attention import Masking, attention_forward
from nnlib.ops.attention_dropout import KeptProbabilities
from nnlib.ops.dropout import dropout_backward, dropout_forward, keep_mask
from nnlib.ops.embedding import embedding_backward, embedding_forward
from workloads.parallel.pieces import Runs, places


@dataclass(frozen=True)
class DropoutPart(Layer):
    """A rank's part of a dropout layer: its part of the mask that the whole layer would draw."""

    rate: float
    runs: Runs
    ways: int
    rank: int

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        if not run.training or self.rate == 0:
            return x, None
        shape = (*x.shape[:-1], x.shape[-1] * self.ways)
        mask = keep_mask(layer_key(run.key, self.name), run.first_sample, shape, self.rate)
        part = mask[..., places(self.runs, ways=self.ways, rank=self.rank)]
        return dropout_forward(x, part, self.rate), part

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        if not needs[0]:
            return (None,), {}
        return (grad_output if saved is None else dropout_backward(grad_output, saved, self.rate),), {}


@dataclass(frozen=True)
class AttentionPart(Layer):
    """A rank's ``heads`` heads of attention, from number ``first_head`` on: query, key, value and perhaps lengths."""

    heads: int
    first_head: int
    causal: bool = False
    dropout: float = 0.0

    @property
    def alone(self) -> DotProductAttention:
        """The same layer where these heads are all there are."""
        return DotProductAttention(self.name, self.heads, self.causal, self.dropout)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return self.alone.output_shape(input_shapes)

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return self.alone.multiply_accumulates(input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        query, key, value = inputs[:3]
        keep = None
        if run.training and self.dropout:
            keep = KeptProbabilities(
                key=layer_key(run.key, self.name),
                first_sample=run.first_sample,
                heads=self.heads,
                queries=query.shape[1],
                keys=key.shape[1],
                rate=self.dropout,
                first_head=self.first_head,
            )
        counts = inputs[3].astype(np.int64) if len(inputs) == 4 else None
        masking = Masking(causal=self.causal, lengths=counts, keep=keep, rate=self.dropout)
        out, logs = attention_forward(query, key, value, heads=self.heads, masking=masking)
        return out, (inputs, out, logs, masking)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return self.alone.backward(params, saved, grad_output, needs)


@dataclass(frozen=True)
class EmbeddingPart(Layer):
    """A rank's ``count`` rows of a table, from number ``first`` on: the other ranks' tokens get zeros."""

    count: int
    features: int
    first: int

    @property
    def alone(self) -> Embedding:
        """The same layer where these rows are all there are."""
        return Embedding(self.name, self.count, self.features)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return self.alone.output_shape(input_shapes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return self.alone.parameter_shapes(input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        rows = inputs[0].astype(np.int64, copy=False) - self.first
        own = (rows >= 0) & (rows < self.count)
        rows = np.where(own, rows, 0)
        found: Array = embedding_forward(rows, params["weight"]) * own[..., None]
        return found, (rows, own)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        rows, own = saved
        return (None,), {"weight": embedding_backward(rows, grad_output * own[..., None], self.count)}
