"""The sample stream: which sample, in which of its forms, is the next one to learn from.

Epoch after epoch every training sample comes once, in an order of its own, each time in a form (shifted, mirrored)
drawn at random. What comes is a number, ``sample × variants + variant``: a global batch of 655,360 samples is an array
of numbers, and only the distinct ones among them are ever made into arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnlib.batch import Batch
from workloads.datasets.dataset import Labels, Part

BLOCK_SAMPLES = 65_536
"""Epochs are drawn in blocks of about so many samples: one generator per epoch costs more than its numbers."""
LARGEST_COUNTED = 2**24
"""Up to this number distinct samples are found by counting, which is faster than sorting."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Sample numbers ``ids`` (count,) int64 in order: contiguous equal shares belong to the ranks in order."""

    ids: Labels

    def __len__(self) -> int:
        return len(self.ids)

    def distinct(self) -> tuple[Labels, Labels]:
        """The distinct sample numbers, ascending, and how often each occurs."""
        if len(self.ids) and self.ids.max() > LARGEST_COUNTED:
            return np.unique(self.ids, return_counts=True)
        counts = np.bincount(self.ids)
        found = np.flatnonzero(counts)
        return found, counts[found]


class SampleStream:
    """An endless stream of training samples, the same for the same samples, their variants and ``seed``.

    What it yields does not depend on how many are asked for at a time.
    """

    def __init__(self, train: Part, seed: int) -> None:
        self._train = train
        self._seed = seed
        self._drawn = 0
        self._block_number = -1
        self._block = np.empty(0, dtype=np.int64)

    @property
    def distinct_samples(self) -> int:
        """The number of different samples there are."""
        return len(self._train) * self._train.variants

    def next(self, count: int) -> Samples:
        """The next ``count`` samples."""
        size = self._epochs_per_block * len(self._train)
        parts = []
        while count > 0:
            number, offset = divmod(self._drawn, size)
            if number != self._block_number:
                self._block, self._block_number = self._draw(number), number
            parts.append(self._block[offset : offset + count])
            self._drawn += len(parts[-1])
            count -= len(parts[-1])
        return Samples(np.concatenate(parts) if parts else np.empty(0, dtype=np.int64))

    def batch(self, ids: Labels) -> Batch:
        """Inputs and targets of sample numbers (n,), as a network takes them."""
        samples, variants = np.divmod(ids, self._train.variants)
        return self._train.batch(samples, variants)

    def state(self) -> dict[str, int]:
        """All that is needed to go on from here: plain numbers."""
        return {
            "seed": self._seed,
            "variants": self._train.variants,
            "samples": len(self._train),
            "drawn": self._drawn,
        }

    @classmethod
    def from_state(cls, train: Part, state: Mapping[str, int]) -> SampleStream:
        """The stream that goes on where the one that gave ``state`` stopped.

        Raises ValueError when ``train`` has another number of samples or of variants.
        """
        found = {"samples": len(train), "variants": train.variants}
        for name, count in found.items():
            if state[name] != count:
                raise ValueError(f"the stream was over {state[name]} {name}, these are {count}")
        stream = cls(train, state["seed"])
        stream._drawn = state["drawn"]
        return stream

    @property
    def _epochs_per_block(self) -> int:
        return max(1, BLOCK_SAMPLES // len(self._train))

    def _draw(self, number: int) -> Labels:
        rng = np.random.default_rng([self._seed, number])
        in_order = np.broadcast_to(np.arange(len(self._train)), (self._epochs_per_block, len(self._train)))
        samples = rng.permuted(in_order, axis=1).reshape(-1)
        variants = self._train.variants
        return samples * variants + rng.integers(variants, size=len(samples))
