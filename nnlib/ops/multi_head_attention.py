"""Multi-head attention: projections of query, key and value, attention by heads, and a projection of the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.attention import UNMASKED, Masking, attention_backward, attention_forward, row_dots
from nnlib.ops.convolution import channel_sums
from nnlib.ops.linear import linear_forward, linear_input_gradient, linear_weight_gradient

Array = NDArray[np.floating]
Params = Mapping[str, Array]

PARTS = ("query", "key", "value")


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
    ``params``: of self-attention ``qkv_weight`` (E, 3·E), query's columns first, and ``qkv_bias``; else
    ``query_weight`` (E, E), ``key_weight`` and ``value_weight`` (features, E), and biases (E,); always ``out_weight``
    (E, E) and ``out_bias``. Biases may be left out.
    """
    if len(inputs) == 1:
        q, k, v = _thirds(_affine(inputs[0], params, "qkv"))
    else:
        q, k, v = (_affine(x, params, part) for x, part in zip(_sources(inputs), PARTS, strict=True))
    attended, logs = attention_forward(q, k, v, heads=heads, masking=masking)
    saved = SavedAttention(
        inputs=inputs, projected=(q, k, v), attended=attended, logs=logs, heads=heads, masking=masking
    )
    return _affine(attended, params, "out"), saved


def multi_head_attention_backward(
    grad: Array, params: Params, saved: SavedAttention, *, needs: tuple[bool, ...] | None = None
) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
    """Gradients by the inputs, None where ``needs`` says that nobody wants it, and by the parameters."""
    grads: dict[str, Array] = {}
    wanted = needs or (True,) * len(saved.inputs)
    grad_attended = _input_gradient(grad, params, "out")
    _add_gradients(grads, grad, saved.attended, params, "out")
    dots = row_dots(grad_attended, saved.attended, heads=saved.heads)
    by_projected = attention_backward(
        grad_attended, *saved.projected, saved.logs, dots=dots, heads=saved.heads, masking=saved.masking
    )
    del grad_attended
    if len(saved.inputs) == 1:
        packed = np.concatenate(by_projected, axis=2)
        _add_gradients(grads, packed, saved.inputs[0], params, "qkv")
        return (_input_gradient(packed, params, "qkv") if wanted[0] else None,), grads
    found: list[Array | None] = [None] * len(saved.inputs)
    numbers = (0, 1, len(saved.inputs) - 1)
    for by, number, part in zip(by_projected, numbers, PARTS, strict=True):
        _add_gradients(grads, by, saved.inputs[number], params, part)
        if wanted[number]:
            product, before = _input_gradient(by, params, part), found[number]
            found[number] = product if before is None else before + product
    return tuple(found), grads


def _sources(inputs: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """What query, key and value are projected from."""
    return inputs[0], inputs[1], inputs[-1]


def _thirds(packed: Array) -> tuple[Array, Array, Array]:
    """The parts of query, key and value along the last axis."""
    width = packed.shape[-1] // 3
    return packed[..., :width], packed[..., width : 2 * width], packed[..., 2 * width :]


def _affine(x: Array, params: Params, part: str) -> Array:
    return linear_forward(x, params[f"{part}_weight"], params.get(f"{part}_bias"))


def _input_gradient(grad: Array, params: Params, part: str) -> Array:
    return linear_input_gradient(grad, params[f"{part}_weight"])


def _add_gradients(grads: dict[str, Array], grad: Array, x: Array, params: Params, part: str) -> None:
    """The gradients by a product's weight and bias."""
    grads[f"{part}_weight"] = linear_weight_gradient(grad, x)
    if f"{part}_bias" in params:
        grads[f"{part}_bias"] = channel_sums(grad)
