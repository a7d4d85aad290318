"""Scaled dot-product attention by heads (Vaswani et al. 2017, eq. 1), its gradient, and multi-head attention.

Scores go by blocks of samples and queries, and the gradient computes them again from the saved log-sum-exp (Dao et al.
2022, "FlashAttention", algorithms 1 and 4), so that no array of all queries by all keys is ever kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.dropout import dropout_scale

Array = NDArray[np.floating]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Block: TypeAlias = tuple[slice, slice]
Keep: TypeAlias = Callable[[slice, slice, int], Booleans]
Number = TypeVar("Number", np.floating, np.bool_)

BLOCK_SCORES = 1 << 19
"""Scores of a block: few enough to stay in a core's cache, enough for matrix products to be efficient."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Masking:
    """Which keys a query sees, and which probabilities are dropped.

    ``causal``: query t sees the keys up to t. ``lengths`` (B,): sample b has the first lengths[b] keys. ``mask``
    (broadcast to (B, heads, Tq, Tk)) is added to the scores. ``seen`` (the same): True where a query may see a key.
    ``keep`` (samples, queries, keys) gives for slices of samples and queries and a number of keys where dropout at
    ``rate`` leaves a probability, which then grows by 1 / (1 - rate): (b, heads, queries, keys). A query that sees no
    key gets zeros.
    """

    causal: bool = False
    lengths: Integers | None = None
    mask: Array | None = None
    seen: Booleans | None = None
    keep: Keep | None = None
    rate: float = 0.0

    def apply(self, scores: Array, block: Block) -> None:
        """Mask the scores (b, heads, queries, keys) of a block in place."""
        samples, queries = block
        keys = scores.shape[3]
        if self.mask is not None:
            scores += _part(self.mask, block, keys)
        if self.seen is not None:
            np.copyto(scores, -np.inf, where=~_part(self.seen, block, keys))
        if self.causal:
            np.copyto(scores, -np.inf, where=np.arange(keys) > np.arange(queries.start, queries.stop)[:, None])
        if self.lengths is not None:
            np.copyto(scores, -np.inf, where=(np.arange(keys) >= self.lengths[samples, None])[:, None, None, :])

    def drop(self, probabilities: Array, block: Block) -> None:
        """Drop probabilities of a block, or their gradients, in place."""
        if self.keep is not None:
            probabilities *= self.keep(*block, probabilities.shape[3])
            probabilities *= probabilities.dtype.type(dropout_scale(self.rate))


UNMASKED = Masking()


def attention_forward(
    query: Array, key: Array, value: Array, *, heads: int, masking: Masking = UNMASKED, scale: float | None = None
) -> tuple[Array, Array]:
    """``softmax(scale · query · keyᵀ) · value`` by heads, and the log-sum-exp (B, heads, Tq) of its scores.

    ``query`` (B, Tq, heads·d), ``key`` (B, Tk, heads·d), ``value`` (B, Tk, heads·dv); output (B, Tq, heads·dv).
    ``scale``: 1 / √d unless given.
    """
    q, k, v = (split_heads(each, heads) for each in (query, key, value))
    factor = _scale(q, scale)
    out = np.empty((*query.shape[:2], value.shape[2]), dtype=query.dtype)
    target = split_heads(out, heads)
    logs = np.empty(q.shape[:3], dtype=query.dtype)
    for block in _blocks(q, k):
        samples, queries = block
        scores = _scores(q, k, block, masking, factor)
        top = scores.max(axis=3, keepdims=True, initial=-np.inf)
        scores -= _finite(top)
        np.exp(scores, out=scores)
        total = scores.sum(axis=3, keepdims=True)
        with np.errstate(divide="ignore"):
            logs[samples, :, queries] = (top + np.log(total))[..., 0]
        masking.drop(scores, block)
        product = scores @ v[samples, :, : scores.shape[3]]
        np.divide(product, np.where(total == 0, 1, total), out=target[samples, :, queries])
    return out, logs


def attention_backward(
    grad: Array,
    query: Array,
    key: Array,
    value: Array,
    logs: Array,
    *,
    dots: Array,
    heads: int,
    masking: Masking = UNMASKED,
    scale: float | None = None,
    grad_mask: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients by query, key and value, from the log-sum-exp ``logs`` of the forward pass and :func:`row_dots`.

    ``grad_mask``: an array of the mask's shape to which the gradient by an added mask is added.
    """
    q, k, v, dy = (split_heads(each, heads) for each in (query, key, value, grad))
    factor = _scale(q, scale)
    grads = tuple(np.zeros(each.shape, dtype=query.dtype) for each in (query, key, value))
    dq, dk, dv = (split_heads(each, heads) for each in grads)
    shift = _finite(logs)[..., None]
    for block in _blocks(q, k):
        samples, queries = block
        p = _scores(q, k, block, masking, factor)
        seen = slice(0, p.shape[3])
        p -= shift[samples, :, queries]
        np.exp(p, out=p)
        dy_part = dy[samples, :, queries]
        ds = dy_part @ _transposed(v[samples, :, seen])
        masking.drop(ds, block)
        ds -= dots[samples, :, queries, None]
        ds *= p
        masking.drop(p, block)
        dv[samples, :, seen] += _transposed(p) @ dy_part
        if grad_mask is not None:
            target = _part(grad_mask, block, p.shape[3])
            target += _summed_to(ds, target.shape)
        ds *= factor
        dk[samples, :, seen] += _transposed(ds) @ q[samples, :, queries]
        dq[samples, :, queries] = ds @ k[samples, :, seen]
    return grads[0], grads[1], grads[2]


def row_dots(grad: Array, out: Array, *, heads: int) -> Array:
    """``grad · out`` of each query and head, (B, heads, Tq): what the softmax's gradient subtracts."""
    by_head = (each.reshape(*each.shape[:2], heads, -1) for each in (grad, out))
    dots: Array = np.einsum("bqhd,bqhd->bhq", *by_head)
    return dots


def split_heads(x: Array, heads: int) -> Array:
    """(B, T, heads·d) seen as (B, heads, T, d), copied only where a head's numbers do not lie side by side."""
    batch, length, width = x.shape
    if x.strides[2] != x.itemsize and width > 1:
        x = np.ascontiguousarray(x)
    return x.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def _scores(q: Array, k: Array, block: Block, masking: Masking, factor: float) -> Array:
    """Masked scores (b, heads, queries, keys) of a block, without the keys that no query of it sees."""
    samples, queries = block
    keys = min(k.shape[2], queries.stop) if masking.causal else k.shape[2]
    scores: Array = q[samples, :, queries] @ _transposed(k[samples, :, :keys])
    scores *= factor
    masking.apply(scores, block)
    return scores


def _blocks(q: Array, k: Array) -> Iterator[Block]:
    """Blocks of samples, or of queries of one sample where its scores are many."""
    batch, heads, length, _ = q.shape
    row = max(1, heads * k.shape[2])
    at_once = max(1, BLOCK_SCORES // (row * length))
    rows = min(length, max(1, BLOCK_SCORES // row))
    for first in range(0, batch, at_once):
        for query in range(0, length, rows):
            yield slice(first, min(first + at_once, batch)), slice(query, min(query + rows, length))


def _scale(q: Array, scale: float | None) -> float:
    return float(q.shape[3] ** -0.5) if scale is None else scale


def _transposed(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _finite(top: Array) -> Array:
    """With 0 instead of the -inf of a query that sees no key, from which no number may be taken."""
    return np.where(np.isneginf(top), 0, top).astype(top.dtype, copy=False)


def _part(mask: NDArray[Number], block: Block, keys: int) -> NDArray[Number]:
    """What of a mask, of at most the axes (B, heads, Tq, Tk), concerns a block: a view."""
    whole = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    samples, queries = block
    return whole[
        samples if whole.shape[0] > 1 else slice(None),
        :,
        queries if whole.shape[2] > 1 else slice(None),
        slice(0, keys) if whole.shape[3] > 1 else slice(None),
    ]


def _summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Summed over the axes along which ``shape`` has length 1."""
    axes = tuple(axis for axis, length in enumerate(shape) if length == 1 and x.shape[axis] > 1)
    return x.sum(axis=axes, keepdims=True) if axes else x
