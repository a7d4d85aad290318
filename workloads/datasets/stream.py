"""The sample stream: which image, shifted how, is the next one to learn from.

Epoch after epoch every training image comes once, in an order of its own, each time with a shift drawn at random. A
sample is a number, ``image × shifts + shift``: a global batch of 655,360 samples is an array of numbers, and only the
distinct ones among them are ever made into images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnlib.batch import Batch
from nnlib.graph import INPUT
from workloads.datasets.dataset import LABEL, Images, Labelled, Labels

BLOCK_SAMPLES = 65_536
"""Epochs are drawn in blocks of about so many samples: one generator per epoch costs more than its numbers."""
LARGEST_TABLE_BYTES = 64 * 2**20
"""All distinct images are kept when they fit into this."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Sample numbers ``ids`` (count,) int64 in order: contiguous equal shares belong to the ranks in order."""

    ids: Labels

    def __len__(self) -> int:
        return len(self.ids)

    def distinct(self) -> tuple[Labels, Labels]:
        """The distinct sample numbers, ascending, and how often each occurs."""
        counts = np.bincount(self.ids)
        found = np.flatnonzero(counts)
        return found, counts[found]


class SampleStream:
    """An endless stream of training samples, the same for the same images, ``max_shift`` and ``seed``.

    What it yields does not depend on how many are asked for at a time.
    """

    def __init__(self, train: Labelled, max_shift: int, seed: int) -> None:
        self._train = train
        self._max_shift = max_shift
        self._seed = seed
        self._drawn = 0
        self._block_number = -1
        self._block = np.empty(0, dtype=np.int64)

    @property
    def shifts(self) -> int:
        """The number of different shifts of an image."""
        return int((2 * self._max_shift + 1) ** 2)

    @property
    def distinct_samples(self) -> int:
        """The number of different samples there are."""
        return len(self._train) * self.shifts

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

    def images(self, ids: Labels) -> Images:
        """The images of sample numbers (n,): (n, height, width, channels), shifted, edges filled with zero."""
        if self._table is not None:
            return self._table[ids]
        return shifted(self._train.images[ids // self.shifts], ids % self.shifts, max_shift=self._max_shift)

    def labels(self, ids: Labels) -> Labels:
        """The class numbers of sample numbers (n,)."""
        return self._train.labels[ids // self.shifts]

    def batch(self, ids: Labels) -> Batch:
        """Images and labels of sample numbers (n,), as a network takes them."""
        return Batch(inputs={INPUT: self.images(ids)}, targets={LABEL: self.labels(ids)})

    def state(self) -> dict[str, int]:
        """All that is needed to go on from here: plain numbers."""
        return {"seed": self._seed, "max_shift": self._max_shift, "images": len(self._train), "drawn": self._drawn}

    @classmethod
    def from_state(cls, train: Labelled, state: Mapping[str, int]) -> SampleStream:
        """The stream that goes on where the one that gave ``state`` stopped.

        Raises ValueError when ``train`` has another number of images.
        """
        if state["images"] != len(train):
            raise ValueError(f"the stream was over {state['images']} images, these are {len(train)}")
        stream = cls(train, state["max_shift"], state["seed"])
        stream._drawn = state["drawn"]
        return stream

    @property
    def _epochs_per_block(self) -> int:
        return max(1, BLOCK_SAMPLES // len(self._train))

    def _draw(self, number: int) -> Labels:
        rng = np.random.default_rng([self._seed, number])
        in_order = np.broadcast_to(np.arange(len(self._train)), (self._epochs_per_block, len(self._train)))
        images = rng.permuted(in_order, axis=1).reshape(-1)
        return images * self.shifts + rng.integers(self.shifts, size=len(images))

    @cached_property
    def _table(self) -> Images | None:
        images = self._train.images
        if images.nbytes * self.shifts > LARGEST_TABLE_BYTES:
            return None
        each = np.tile(np.arange(self.shifts), len(images))
        return shifted(np.repeat(images, self.shifts, axis=0), each, max_shift=self._max_shift)


def shifted(images: Images, shifts: Labels, *, max_shift: int) -> Images:
    """Images (n, height, width, channels), each moved by its own shift, what comes in at the edges being zero.

    Shift ``s`` moves down by ``s // k - max_shift`` and right by ``s % k - max_shift`` pixels, k = 2 max_shift + 1.
    """
    width = 2 * max_shift + 1
    border = ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0))
    padded = np.pad(images, border)
    height, length = images.shape[1:3]
    result = np.empty_like(images)
    for shift in range(width * width):
        chosen = np.flatnonzero(shifts == shift)
        top, left = width - 1 - shift // width, width - 1 - shift % width
        result[chosen] = padded[chosen, top : top + height, left : left + length]
    return result
