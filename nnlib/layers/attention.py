"""Attention: every position of one sequence takes from all positions of another, or of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnlib.layers.initial import XAVIER_UNIFORM, Initial
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.layers.randomness import layer_key
from nnlib.ops.attention import Masking, attention_backward, attention_forward, row_dots
from nnlib.ops.attention_dropout import KeptProbabilities
from nnlib.ops.multi_head_attention import PARTS, multi_head_attention_backward, multi_head_attention_forward


@dataclass(frozen=True)
class DotProductAttention(Layer):
    """``softmax(query·keyᵀ / √d)·value`` by heads: (Tq, heads·d), (Tk, heads·d), (Tk, heads·dv) to (Tq, heads·dv).

    A fourth input, if there is one, says how many keys a sample has. ``causal``: position t sees those up to t.
    ``dropout``: the rate at which probabilities are dropped in training.
    """

    heads: int
    causal: bool = False
    dropout: float = 0.0

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        wanted = "query (Tq, heads·d), key (Tk, heads·d), value (Tk, heads·dv) and perhaps lengths ()"
        if len(input_shapes) not in (3, 4) or any(len(shape) != 2 for shape in input_shapes[:3]):
            raise ShapeError(f"layer {self.name!r} (attention) wants {wanted}, got {input_shapes}")
        query, key, value = input_shapes[:3]
        if query[1] != key[1] or key[0] != value[0] or input_shapes[3:] not in ((), ((),)):
            raise ShapeError(f"layer {self.name!r} (attention) wants {wanted}, got {input_shapes}")
        check_heads(self.name, self.heads, query[1], value[1])
        return query[0], value[1]

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        (queries, width), (keys, _), (_, value_width) = input_shapes[:3]
        return queries * keys * (width + value_width)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        query, key, value = inputs[:3]
        lengths = inputs[3] if len(inputs) == 4 else None
        masking = masking_of(self, run, queries=query.shape[1], keys=key.shape[1], lengths=lengths)
        out, logs = attention_forward(query, key, value, heads=self.heads, masking=masking)
        return out, (inputs, out, logs, masking)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        inputs, out, logs, masking = saved
        query, key, value = inputs[:3]
        dots = row_dots(grad_output, out, heads=self.heads)
        grads = attention_backward(grad_output, query, key, value, logs, dots=dots, heads=self.heads, masking=masking)
        lengths = (None,) * (len(inputs) - 3)
        return (*(grad if need else None for grad, need in zip(grads, needs, strict=False)), *lengths), {}


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """Attention by ``heads`` of projections of the input, and a projection of what they give: (T, E) to (T, E).

    Inputs are (x), (x, lengths), (query, memory) or (query, memory, lengths), lengths () being how many positions of x
    or memory a sample has. Self-attention has the parameters ``qkv_weight`` (E, 3·E) and ``qkv_bias``; attention to a
    memory (Tk, F) ``query_weight`` (E, E), ``key_weight`` and ``value_weight`` (F, E) with biases; both ``out_weight``
    (E, E) and ``out_bias``.
    """

    heads: int
    causal: bool = False
    bias: bool = True
    dropout: float = 0.0
    initial: Initial = field(default=XAVIER_UNIFORM, kw_only=True)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        sources = self.sources(input_shapes)
        wanted = "x (T, E) or query (Tq, E) and memory (Tk, F), and perhaps lengths ()"
        lengths = input_shapes[len(sources) :]
        if len(sources) not in (1, 2) or any(len(shape) != 2 for shape in sources) or lengths not in ((), ((),)):
            raise ShapeError(f"layer {self.name!r} (multi-head attention) wants {wanted}, got {input_shapes}")
        check_heads(self.name, self.heads, sources[0][1])
        return sources[0]

    @staticmethod
    def sources(input_shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """The inputs that are sequences: all but lengths."""
        return input_shapes[:-1] if input_shapes and not input_shapes[-1] else input_shapes

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        sources = self.sources(input_shapes)
        width = sources[0][1]
        if len(sources) == 1:
            weights = {"qkv": (width, 3 * width)}
        else:
            features = (width, sources[1][1], sources[1][1])
            weights = {part: (each, width) for part, each in zip(PARTS, features, strict=True)}
        weights["out"] = (width, width)
        shapes: dict[str, Shape] = {f"{part}_weight": shape for part, shape in weights.items()}
        return shapes | ({f"{part}_bias": shape[1:] for part, shape in weights.items()} if self.bias else {})

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return {
            name: self.initial.draw(shape, fan_in=shape[0], fan_out=shape[1], rng=rng, dtype=dtype)
            if len(shape) == 2
            else np.zeros(shape, dtype=dtype)
            for name, shape in self.parameter_shapes(input_shapes).items()
        }

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        sources = self.sources(input_shapes)
        (queries, width), (keys, features) = sources[0], sources[-1]
        return 2 * queries * width * width + 2 * keys * features * width + 2 * queries * keys * width

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        sources = inputs[:-1] if inputs[-1].ndim == 1 else inputs
        lengths = inputs[-1] if inputs[-1].ndim == 1 else None
        masking = masking_of(self, run, queries=sources[0].shape[1], keys=sources[-1].shape[1], lengths=lengths)
        return multi_head_attention_forward(sources, params, heads=self.heads, masking=masking)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        count = len(saved.inputs)
        by_inputs, grads = multi_head_attention_backward(grad_output, params, saved, needs=needs[:count])
        return (*by_inputs, *(None for _ in needs[count:])), grads


def masking_of(
    layer: MultiHeadAttention | DotProductAttention, run: Run, *, queries: int, keys: int, lengths: Array | None
) -> Masking:
    """What a layer masks in a run."""
    keep = None
    if run.training and layer.dropout:
        keep = KeptProbabilities(
            key=layer_key(run.key, layer.name),
            first_sample=run.first_sample,
            heads=layer.heads,
            queries=queries,
            keys=keys,
            rate=layer.dropout,
        )
    counts = None if lengths is None else lengths.astype(np.int64)
    return Masking(causal=layer.causal, lengths=counts, keep=keep, rate=layer.dropout)


def check_heads(layer: str, heads: int, *widths: int) -> None:
    """Raise ShapeError unless every width is shared out evenly to the heads."""
    for width in widths:
        if width % heads:
            raise ShapeError(f"layer {layer!r} (attention) wants a width that {heads} heads divide, got {width}")
