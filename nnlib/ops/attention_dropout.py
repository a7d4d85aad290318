"""Which of attention's probabilities dropout keeps: by a key, the sample's number and the element's alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.dropout import threshold
from nnlib.ops.random_bits import HALF, LANES, MASK, philox

Booleans = NDArray[np.bool_]
Bits = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptProbabilities:
    """Blocks of :func:`nnlib.ops.dropout.keep_mask` over ``heads`` × ``queries`` × ``keys`` probabilities a sample.

    What was asked for once is remembered, a bit for each probability: the gradient asks for the same blocks.
    ``first_head``: the number of the first head, where others have those before it.
    """

    key: int
    first_sample: int
    heads: int
    queries: int
    keys: int
    rate: float
    first_head: int = 0
    known: dict[tuple[int, int, int], Bits] = field(default_factory=dict, repr=False)

    def __call__(self, samples: slice, queries: slice, keys: int) -> Booleans:
        """True where a probability is kept: (b, heads, queries, keys), of the first ``keys`` keys."""
        place = (samples.start, queries.start, keys)
        shape = (samples.stop - samples.start, self.heads, queries.stop - queries.start, keys)
        bits = self.known.get(place)
        if bits is not None:
            return np.unpackbits(bits, count=int(np.prod(shape))).view(bool).reshape(shape)
        kept = self._drawn(samples, queries)[..., :keys]
        self.known[place] = np.packbits(kept)
        return kept

    def _drawn(self, samples: slice, queries: slice) -> Booleans:
        """All keys of a block; a head's probabilities lie in a run, drawn four at a time."""
        rows = queries.stop - queries.start
        count = rows * self.keys
        first = ((self.first_head + np.arange(self.heads)) * self.queries + queries.start) * self.keys
        block = (first // LANES)[:, None] + np.arange(-(-(count + LANES - 1) // LANES))
        sample = self.first_sample + np.arange(samples.start, samples.stop)[:, None, None]
        wide = np.broadcast_arrays(block.astype(np.uint64), sample.astype(np.uint64))
        numbers = philox((wide[0] & MASK, wide[0] >> HALF, wide[1] & MASK, wide[1] >> HALF), self.key)
        kept = np.stack([each >= threshold(self.rate) for each in numbers], axis=-1).reshape(*wide[0].shape[:2], -1)
        before = first % LANES
        if before.any():
            places = before[:, None] + np.arange(count)
            kept = np.take_along_axis(kept, np.broadcast_to(places, (len(kept), *places.shape)), axis=2)
        return kept[..., :count].reshape(len(kept), self.heads, rows, self.keys)
