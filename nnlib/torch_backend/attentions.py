"""Attention by PyTorch's own fused function."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nnlib.layers.attention import masking_of
from nnlib.ops.dropout import dropout_scale
from nnlib.ops.multi_head_attention import PARTS
from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor, to_array, to_tensor


@layer_rule("DotProductAttention")
def dot_product_attention(layer: Any, place: Place) -> Tensor:
    """Query, key and value as they come."""
    query, key, value = place.inputs[:3]
    return _attend(layer, place, query, key, value, place.inputs[3] if len(place.inputs) == 4 else None)


@layer_rule("MultiHeadAttention")
def multi_head_attention(layer: Any, place: Place) -> Tensor:
    """One product for query, key and value of self-attention, three of attention to a memory."""
    padded = place.inputs[-1].ndim == 1
    sources = place.inputs[:-1] if padded else place.inputs
    lengths = place.inputs[-1] if padded else None
    if len(sources) == 1:
        query, key, value = _affine(place, "qkv", sources[0]).chunk(len(PARTS), dim=2)
    else:
        query, key, value = (_affine(place, part, sources[min(number, 1)]) for number, part in enumerate(PARTS))
    return _affine(place, "out", _attend(layer, place, query, key, value, lengths))


def _affine(place: Place, part: str, x: Tensor) -> Tensor:
    return functional.linear(x, place.params[f"{part}_weight"].t(), place.params.get(f"{part}_bias"))


def _attend(layer: Any, place: Place, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, Tq, heads·dv). Where probabilities are dropped it is spelt out, for the numbers of the layer's own key."""
    q, k, v = (each.unflatten(2, (layer.heads, -1)).transpose(1, 2) for each in (query, key, value))
    hidden = _hidden(layer, q, k, lengths)
    counts = None if lengths is None else to_array(lengths)
    masking = masking_of(layer, place.run, queries=q.shape[2], keys=k.shape[2], lengths=counts)
    if masking.keep is None:
        causal = layer.causal and lengths is None
        mask = (
            None
            if hidden is None or causal
            else torch.zeros_like(hidden, dtype=q.dtype).masked_fill(hidden, -torch.inf)
        )
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    else:
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden, -torch.inf)
            # a query that sees no key gets zeros
            scores = scores.masked_fill(hidden.all(dim=-1, keepdim=True), 0)
        p = torch.softmax(scores, dim=-1)
        if hidden is not None:
            p = p.masked_fill(hidden, 0)
        kept = masking.keep(slice(0, len(q)), slice(0, q.shape[2]), k.shape[2])
        y = (p * to_tensor(kept, q.device) * dropout_scale(layer.dropout)) @ v
    return y.transpose(1, 2).flatten(2)


def _hidden(layer: Any, q: Tensor, k: Tensor, lengths: Tensor | None) -> Tensor | None:
    """True where a query must not see a key, broadcast to (B, heads, Tq, Tk)."""
    found = None
    places = torch.arange(k.shape[2], device=q.device)
    if layer.causal:
        found = (places > torch.arange(q.shape[2], device=q.device)[:, None])[None, None]
    if lengths is not None:
        beyond = (places >= lengths[:, None])[:, None, None]
        found = beyond if found is None else found | beyond
    return found
