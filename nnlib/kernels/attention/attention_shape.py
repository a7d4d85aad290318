"""What attention kernels have in common: sizes, masks, the arrays they take and a head's part of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.pointwise.dropout import HYPER, key_and_sample
from nnlib.ops.attention import Masking
from nnlib.ops.attention_dropout import KeptProbabilities
from nnlib.precision import DTypeName
from sim.chip.memory import Array, MemoryArray, Shape

PARTS: Final = ("query", "key", "value")


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """Attention of ``queries`` to ``keys`` by ``heads`` in each of ``batch`` samples.

    ``depth`` and ``value_depth``: of a head. ``scale``: of the scores. ``causal``: query t sees the keys up to t.
    ``padded``: the argument ``lengths`` (batch,) says how many keys a sample has. ``mask``: samples and heads of the
    argument ``mask`` that is added to the scores, each 1 or all. ``dropped``: the rate at which probabilities are
    dropped, by the argument ``hyper`` (8,) as :class:`nnlib.kernels.pointwise.dropout.Dropout` has it. ``packed``:
    query, key and value are parts of one argument ``qkv`` (batch, T, 3, heads, depth), and their gradients of
    ``grad_qkv``.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    dtype: DTypeName
    scale: float
    causal: bool = False
    padded: bool = False
    mask: tuple[int, int] | None = None
    dropped: float | None = None
    packed: bool = False

    def __post_init__(self) -> None:
        if self.packed and (self.queries, self.depth) != (self.keys, self.value_depth):
            raise ValueError("query, key and value of different sizes are not packed into one array")

    def queries_shape(self, depth: int) -> Shape:
        """Of an array with a row for each query and head."""
        return self.batch, self.queries, self.heads, depth

    def keys_shape(self, depth: int) -> Shape:
        """Of an array with a row for each key and head."""
        return self.batch, self.keys, self.heads, depth

    @property
    def scores_shape(self) -> Shape:
        return self.batch, self.heads, self.queries, self.keys

    @property
    def inputs(self) -> tuple[Parameter, ...]:
        """Query, key, value and the masks there are."""
        if self.packed:
            found = [Parameter("qkv", self.packed_shape, "in")]
        else:
            found = [
                Parameter("query", self.queries_shape(self.depth), "in"),
                Parameter("key", self.keys_shape(self.depth), "in"),
                Parameter("value", self.keys_shape(self.value_depth), "in"),
            ]
        if self.padded:
            found.append(Parameter("lengths", (self.batch,), "in"))
        if self.mask is not None:
            found.append(Parameter("mask", (*self.mask, self.queries, self.keys), "in"))
        if self.dropped is not None:
            found.append(Parameter("hyper", (HYPER,), "in"))
        return tuple(found)

    @property
    def packed_shape(self) -> Shape:
        return self.batch, self.queries, len(PARTS), self.heads, self.depth

    def unpacked(self, arguments: Arguments) -> Arguments:
        """The arguments with query, key and value, and their gradients, by themselves."""
        found = dict(arguments)
        for prefix in ("", "grad_"):
            whole = found.pop(f"{prefix}qkv", None)
            if whole is not None:
                found |= {f"{prefix}{part}": whole.select(2, number) for number, part in enumerate(PARTS)}
        return found

    def unpacked_arrays(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The same of whole arrays."""
        found = dict(arrays)
        for prefix in ("", "grad_"):
            whole = found.pop(f"{prefix}qkv", None)
            if whole is not None:
                found |= {f"{prefix}{part}": whole[:, :, number] for number, part in enumerate(PARTS)}
        return found

    def masking(self, arrays: Mapping[str, Array]) -> Masking:
        """The masks as whole arrays have them."""
        return Masking(
            causal=self.causal,
            lengths=arrays["lengths"].astype(np.int64) if self.padded else None,
            mask=arrays.get("mask"),
            keep=None if self.dropped is None else self._kept(arrays["hyper"]),
            rate=self.dropped or 0.0,
        )

    def _kept(self, hyper: Array) -> KeptProbabilities:
        key, first_sample = key_and_sample(hyper)
        assert self.dropped is not None
        return KeptProbabilities(
            key=key,
            first_sample=first_sample,
            heads=self.heads,
            queries=self.queries,
            keys=self.keys,
            rate=self.dropped,
        )


@dataclass(frozen=True)
class Head:
    """One head of one sample, and its part of an array."""

    sample: int
    head: int

    def rows(self, array: MemoryArray) -> MemoryArray:
        """(T, d) of an array (batch, T, heads, d)."""
        return array.select(0, self.sample).select(1, self.head)

    def plane(self, array: MemoryArray) -> MemoryArray:
        """What of an array (batch or 1, heads or 1, ...) concerns it."""
        of_sample = array.select(0, min(self.sample, array.shape[0] - 1))
        return of_sample.select(0, min(self.head, of_sample.shape[0] - 1))


@dataclass(frozen=True, eq=False)
class Hidden:
    """Which keys of a block of scores are hidden: beyond the array's, beyond the sample's, after the query."""

    shape: AttentionShape

    def concerns(self, *, queries: range, keys: range) -> bool:
        """Whether any score of the block may be hidden, for all that is known without data."""
        shape = self.shape
        return shape.padded or keys.stop > shape.keys or (shape.causal and keys.stop - 1 > queries.start)

    def hide(self, scores: Array, *, queries: range, keys: range, length: float | None) -> None:
        """Put -inf in place of the hidden scores (queries, keys)."""
        places = np.arange(keys.start, keys.stop)
        limit = self.shape.keys if length is None else min(self.shape.keys, int(length))
        np.copyto(scores, -np.inf, where=places >= limit)
        if self.shape.causal:
            np.copyto(scores, -np.inf, where=places > np.arange(queries.start, queries.stop)[:, None])
