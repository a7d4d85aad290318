"""A dataset: samples of several named arrays, in one part to learn from and one to be judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from nnlib.batch import Arrays, Batch
from nnlib.graph import INPUT
from workloads.datasets.storage import StoredSample

Labels: TypeAlias = npt.NDArray[np.int64]

IMAGE: Final = "image"
"""Name of the pixels among a sample's arrays."""
LABEL: Final = "label"
"""Name of the class number among a sample's arrays and a batch's targets."""
EVALUATED_BYTES: Final = 64 * 2**20
EVALUATED_SAMPLES: Final = 1024
"""So much of a part is looked at in one go."""


@dataclass(frozen=True)
class Field:
    """One array of a sample: its ``shape``; ``classes``: whole numbers below that, None for real numbers."""

    shape: tuple[int, ...]
    classes: int | None = None


class Store(Protocol):
    """Where samples come from. A sample may come in ``variants`` forms: shifted, mirrored, cut out elsewhere."""

    def __len__(self) -> int: ...

    @property
    def variants(self) -> int:
        """In how many forms a sample may come to be learned from."""

    def arrays(self, samples: Labels, variants: Labels | None = None) -> Arrays:
        """The named arrays of samples (n,), samples in front, each in its form (n,) or as it is."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an array that a network takes is from: ``field`` of a sample in ``shape``.

    ``blank``: the class that labels leave out, so that those from it on count one more; None leaves labels as they are.
    ``width``: sequences of labels are filled up to so many by -1.
    """

    field: str
    shape: tuple[int, ...] | None = None
    blank: int | None = None
    width: int | None = None

    def of(self, arrays: Arrays) -> npt.NDArray[np.generic]:
        """The array of samples."""
        array = arrays[self.field]
        if self.shape is not None:
            array = array.reshape(len(array), *self.shape)
        if self.blank is not None:
            array = array + (array >= self.blank)
        if self.width is not None:
            array = np.pad(array, ((0, 0), (0, self.width - array.shape[1])), constant_values=-1)
        return array


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Which arrays of a sample are a network's inputs and its losses' targets, by their names there."""

    inputs: Mapping[str, Source]
    targets: Mapping[str, Source]


LABELLED_IMAGES: Final = Binding(
    inputs=MappingProxyType({INPUT: Source(field=IMAGE)}), targets=MappingProxyType({LABEL: Source(field=LABEL)})
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Samples of a store as a network takes them, by default images and their class numbers."""

    store: Store
    binding: Binding = LABELLED_IMAGES

    def __len__(self) -> int:
        return len(self.store)

    @property
    def variants(self) -> int:
        return self.store.variants

    def batch(self, samples: Labels, variants: Labels | None = None) -> Batch:
        """Inputs and targets of samples (n,), each in its form (n,) or as it is."""
        arrays = self.store.arrays(samples, variants)
        return Batch(
            inputs={name: source.of(arrays) for name, source in self.binding.inputs.items()},
            targets={name: source.of(arrays) for name, source in self.binding.targets.items()},
        )

    def whole(self) -> Batch:
        """All samples as they are."""
        return self.batch(np.arange(len(self)))

    def batches(self) -> Iterator[Batch]:
        """All samples as they are, so many at a time that they take little memory."""
        first = self.batch(np.arange(min(1, len(self))))
        each = sum(array.nbytes for arrays in (first.inputs, first.targets) for array in arrays.values())
        size = max(1, min(EVALUATED_SAMPLES, EVALUATED_BYTES // max(1, each)))
        for begin in range(0, len(self), size):
            yield self.batch(np.arange(begin, min(begin + size, len(self))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples to learn from and samples to be judged by; none is in both.

    ``fields`` are a sample's arrays, the first of which is what a network takes and the last what it should find.
    ``stored`` says what a sample to learn from costs on storage.
    """

    train: Part
    test: Part
    fields: Mapping[str, Field]
    stored: StoredSample


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Images (n, height, width, channels) of any real numbers and their class numbers (n,)."""

    images: npt.NDArray[np.generic]
    labels: Labels
    stored: StoredSample | None = field(default=None)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, numbers: Labels) -> Labelled:
        """Some of the images."""
        return Labelled(images=self.images[numbers], labels=self.labels[numbers], stored=self.stored)


def split(labels: Labels, *, train_size: int, test_size: int, seed: int) -> tuple[Labels, Labels]:
    """Numbers of the samples to learn from and of those to be judged by, ascending.

    The split is stratified: every class has its proportional share of both parts, to within one sample. Raises
    ValueError when there are fewer than ``train_size + test_size`` samples.
    """
    if train_size + test_size > len(labels):
        raise ValueError(f"{train_size} + {test_size} samples wanted, there are {len(labels)}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    classes = int(labels.max()) + 1
    members = [order[labels[order] == label] for label in range(classes)]
    test_counts = _shares(np.array([len(each) for each in members]), total=test_size)
    rest = np.array([len(each) for each in members]) - test_counts
    train_counts = _shares(rest, total=train_size)
    test = np.concatenate([each[:count] for each, count in zip(members, test_counts, strict=True)])
    train = np.concatenate(
        [
            each[skipped : skipped + count]
            for each, skipped, count in zip(members, test_counts, train_counts, strict=True)
        ]
    )
    return np.sort(train), np.sort(test)


def _shares(counts: Labels, *, total: int) -> Labels:
    """``total`` shared out in proportion to ``counts``, by largest remainder."""
    if not total:
        return np.zeros_like(counts)
    exact = counts * (total / counts.sum())
    shares: Labels = np.floor(exact).astype(np.int64)
    largest = np.argsort(shares - exact, kind="stable")
    shares[largest[: total - int(shares.sum())]] += 1
    return shares
