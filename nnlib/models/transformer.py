"""Transformers: an encoder of BERT's class (Devlin et al. 2019) and a decoder of GPT-2's (Radford et al. 2019)."""

from __future__ import annotations

from nnlib.graph import Input
from nnlib.layers.activation import GELU, Tanh
from nnlib.layers.arrangement import Flatten, Slice
from nnlib.layers.attention import MultiHeadAttention
from nnlib.layers.binary import Add
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding, PositionEmbedding
from nnlib.layers.group_normalisation import LayerNorm
from nnlib.layers.initial import normal
from nnlib.layers.linear import Linear
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network

INITIAL = normal(0.02)


def bert(
    *,
    vocabulary: int = 30_522,
    steps: int = 128,
    positions: int = 512,
    width: int = 768,
    heads: int = 12,
    layers: int = 12,
    dropout: float = 0.1,
) -> Model:
    """BERT-base with both heads of its pre-training: masked tokens, and whether the second sentence follows the first.

    Inputs are ``tokens`` and ``segments`` (steps,), targets ``masked`` (steps,), negative where nothing was masked, and
    ``follows``.
    """
    inputs = (Input("tokens", (steps,), integer=True), Input("segments", (steps,), integer=True))
    network = Network(inputs=inputs)
    words = network.add(Embedding("word", vocabulary, width, INITIAL))
    kinds = network.after("segments").add(Embedding("segment", 2, width, INITIAL))
    network.join(Add("embedded"), words, kinds)
    network.add(PositionEmbedding("position", positions, INITIAL), LayerNorm("norm0", epsilon=1e-12))
    network.add(Dropout("drop0", dropout))
    for number in range(1, layers + 1):
        name, source = f"layer{number}", network.last
        network.add(
            MultiHeadAttention(f"{name}_attention", heads, dropout=dropout, initial=INITIAL),
            Dropout(f"{name}_drop1", dropout),
        )
        network.join(Add(f"{name}_add1"), source, network.last)
        middle = network.add(LayerNorm(f"{name}_norm1", epsilon=1e-12))
        network.add(
            Linear(f"{name}_fc1", 4 * width, initial=INITIAL),
            GELU(f"{name}_gelu"),
            Linear(f"{name}_fc2", width, initial=INITIAL),
            Dropout(f"{name}_drop2", dropout),
        )
        network.join(Add(f"{name}_add2"), middle, network.last)
        network.add(LayerNorm(f"{name}_norm2", epsilon=1e-12))
    encoded = network.last
    network.add(Linear("transform", width, initial=INITIAL), GELU("transform_gelu"))
    network.add(LayerNorm("transform_norm", epsilon=1e-12))
    network.join(Linear("masked", vocabulary, transposed=True), network.last, shared=(("weight", "word.weight"),))
    network.after(encoded).add(Slice("first", axis=0, start=0, stop=1), Flatten("first_vector"))
    network.add(Linear("pooler", width, initial=INITIAL), Tanh("pooled"), Linear("follows", 2, initial=INITIAL))
    losses = (
        CrossEntropy(outputs=("masked",), target="masked"),
        CrossEntropy(outputs=("follows",), target="follows"),
    )
    return Model(network.graph("masked", "follows"), losses)


def gpt2(
    *,
    vocabulary: int = 50_257,
    steps: int = 1024,
    positions: int = 1024,
    width: int = 768,
    heads: int = 12,
    layers: int = 12,
    dropout: float = 0.1,
) -> Model:
    """GPT-2 small: tokens (steps,) to logits of the token that follows each; the last product shares the embedding."""
    network = Network(inputs=(Input("tokens", (steps,), integer=True),))
    network.add(Embedding("word", vocabulary, width, INITIAL), PositionEmbedding("position", positions, INITIAL))
    network.add(Dropout("drop0", dropout))
    for number in range(1, layers + 1):
        name, source = f"layer{number}", network.last
        network.add(
            LayerNorm(f"{name}_norm1"),
            MultiHeadAttention(f"{name}_attention", heads, causal=True, dropout=dropout, initial=INITIAL),
            Dropout(f"{name}_drop1", dropout),
        )
        middle = network.join(Add(f"{name}_add1"), source, network.last)
        network.add(
            LayerNorm(f"{name}_norm2"),
            Linear(f"{name}_fc1", 4 * width, initial=INITIAL),
            GELU(f"{name}_gelu", approximate=True),
            Linear(f"{name}_fc2", width, initial=INITIAL),
            Dropout(f"{name}_drop2", dropout),
        )
        network.join(Add(f"{name}_add2"), middle, network.last)
    network.add(LayerNorm("norm"))
    head = Linear("logits", vocabulary, bias=False, transposed=True)
    network.join(head, network.last, shared=(("weight", "word.weight"),))
    return Model(network.graph(), (CrossEntropy(outputs=("logits",), target="next"),))
