"""What attention kernels have in common: sizes, masks, the arrays they take and a head's part of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnlib.kernels.kernel import Parameter
from nnlib.ops.attention import Masking
from nnlib.precision import DTypeName
from sim.chip.memory import Array, MemoryArray, Shape


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """Attention of ``queries`` to ``keys`` by ``heads`` in each of ``batch`` samples.

    ``depth`` and ``value_depth``: of a head. ``scale``: of the scores. ``causal``: query t sees the keys up to t.
    ``padded``: the argument ``lengths`` (batch,) says how many keys a sample has. ``mask``: samples and heads of the
    argument ``mask`` that is added to the scores, each 1 or all. ``dropped``: the argument ``keep`` is 0 where a
    probability is dropped, at this rate, and 1 elsewhere.
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

    @property
    def kept(self) -> float:
        """What a probability that is kept is multiplied by."""
        return 1.0 if self.dropped is None else 1 / (1 - self.dropped)

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
            found.append(Parameter("keep", self.scores_shape, "in"))
        return tuple(found)

    def masking(self, arrays: Mapping[str, Array]) -> Masking:
        """The masks as whole arrays have them."""
        return Masking(
            causal=self.causal,
            lengths=arrays["lengths"].astype(np.int64) if self.padded else None,
            mask=arrays.get("mask"),
            keep=None if self.dropped is None else arrays["keep"] != 0,
            rate=self.dropped or 0.0,
        )

    def products_flops(self, depths: int) -> int:
        """Of products of all queries with all keys whose depths together are ``depths``."""
        return 2 * self.batch * self.heads * self.queries * self.keys * depths


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
