"""Linear layers, products of activations and embeddings by PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor, aligned


@layer_rule("Linear")
def linear(layer: Any, place: Place) -> Tensor:
    """Weights are (in, out) or, transposed, (out, in) as PyTorch has them."""
    weight = place.params["weight"]
    return functional.linear(place.x, weight if layer.transposed else weight.t(), place.params.get("bias"))


@layer_rule("MatMul")
def matmul(layer: Any, place: Place) -> Tensor:
    """Samples in front of axes that broadcast."""
    a, b = aligned(place.inputs)
    a = a.transpose(-1, -2) if layer.transpose_a else a
    return torch.matmul(a, b.transpose(-1, -2) if layer.transpose_b else b)


@layer_rule("Embedding")
def embedding(layer: Any, place: Place) -> Tensor:
    """Rows of the table."""
    return functional.embedding(place.x.long(), place.params["weight"])


@layer_rule("PositionEmbedding")
def position_embedding(layer: Any, place: Place) -> Tensor:
    """The table's first rows are added."""
    return place.x + place.params["weight"][: place.x.shape[1]]
