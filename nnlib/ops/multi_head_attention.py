"""Multi-head attention: projections of query, key and value, attention by heads, and a projection of the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.attention import UNMASKED, Masking, attention_backward, attention_forward, row_dots

Array = NDArray[np.floating]
Params = Mapping[str, Array]

PACKED = "qkv_weight"
SEPARATE = ("query_weight", "key_weight", "value_weight")


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedAttention:
    """What the gradient needs: the inputs, their projections, attention's output and the log-sum-exp of its scores."""

    inputs: tuple[Array, ...]
    projected: tuple[Array, Array, Array]
    attended: Array
    logs: Array
    heads: int
    masking: Masking


def multi_head_attention_forward(
    inputs: tuple[Array, ...], params: Params, *, heads: int, masking: Masking = UNMASKED
) -> tuple[Array, SavedAttention]:
    """Output (B, Tq, E) and what the gradient needs.

    ``inputs``: one array (B, T, E) for self-attention, two for query and memory, or query, key and value.
    ``params``: ``qkv_weight`` (E, 3·E), query's columns first, or ``query_weight``, ``key_weight`` and
    ``value_weight``; ``qkv_bias`` (3·E,) if any; ``out_weight`` (E, E) and ``out_bias`` (E,) if any.
    """
    if len(inputs) == 1 and PACKED in params:
        packed = _affine(inputs[0], params[PACKED], params.get("qkv_bias"))
        q, k, v = _thirds(packed)
    else:
        sources = _sources(inputs)
        biases = _biases(params)
        q, k, v = (_affine(x, w, b) for x, w, b in zip(sources, _weights(params), biases, strict=True))
    attended, logs = attention_forward(q, k, v, heads=heads, masking=masking)
    y = _affine(attended, params["out_weight"], params.get("out_bias"))
    saved = SavedAttention(
        inputs=inputs, projected=(q, k, v), attended=attended, logs=logs, heads=heads, masking=masking
    )
    return y, saved


def multi_head_attention_backward(
    grad: Array, params: Params, saved: SavedAttention
) -> tuple[tuple[Array, ...], dict[str, Array]]:
    """Gradients by the inputs and by the parameters."""
    grads = {"out_weight": _weight_gradient(saved.attended, grad)}
    if "out_bias" in params:
        grads["out_bias"] = grad.sum(axis=(0, 1))
    grad_attended = grad @ params["out_weight"].T
    by_projected = attention_backward(
        grad_attended,
        *saved.projected,
        saved.logs,
        dots=row_dots(grad_attended, saved.attended, heads=saved.heads),
        heads=saved.heads,
        masking=saved.masking,
    )
    if "qkv_bias" in params:
        grads["qkv_bias"] = np.concatenate([each.sum(axis=(0, 1)) for each in by_projected])
    sources = _sources(saved.inputs)
    by_weight = [_weight_gradient(x, g) for x, g in zip(sources, by_projected, strict=True)]
    if PACKED in params:
        grads[PACKED] = np.concatenate(by_weight, axis=1)
    else:
        grads.update(zip(SEPARATE, by_weight, strict=True))
    q, k, v = (g @ w.T for g, w in zip(by_projected, _weights(params), strict=True))
    match len(saved.inputs):
        case 1:
            return (q + k + v,), grads
        case 2:
            return (q, k + v), grads
        case _:
            return (q, k, v), grads


def _sources(inputs: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """What query, key and value are projected from."""
    return inputs[0], inputs[min(1, len(inputs) - 1)], inputs[-1]


def _weights(params: Params) -> tuple[Array, Array, Array]:
    if PACKED in params:
        return _thirds(params[PACKED])
    return params[SEPARATE[0]], params[SEPARATE[1]], params[SEPARATE[2]]


def _biases(params: Params) -> tuple[Array | None, Array | None, Array | None]:
    return _thirds(params["qkv_bias"]) if "qkv_bias" in params else (None, None, None)


def _thirds(packed: Array) -> tuple[Array, Array, Array]:
    """The parts of query, key and value along the last axis."""
    width = packed.shape[-1] // 3
    return packed[..., :width], packed[..., width : 2 * width], packed[..., 2 * width :]


def _affine(x: Array, weight: Array, bias: Array | None) -> Array:
    y: Array = (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[1])
    if bias is not None:
        y += bias
    return y


def _weight_gradient(x: Array, grad: Array) -> Array:
    product: Array = x.reshape(-1, x.shape[-1]).T @ grad.reshape(-1, grad.shape[-1])
    return product
