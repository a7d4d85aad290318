"""A dataset: labelled images, split for training and testing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Images: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]

LABEL: Final = "label"
"""Name of the class numbers among a batch's targets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Images (n, height, width, channels) float64 and their class numbers (n,) int64."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images to learn from and images to be judged by; no image is in both. Class numbers are below ``classes``."""

    train: Labelled
    test: Labelled
    classes: int


def split(samples: Labelled, *, train_size: int, test_size: int, seed: int) -> Dataset:
    """A stratified split: every class has its proportional share of both parts, to within one image.

    Raises ValueError when there are fewer than ``train_size + test_size`` samples.
    """
    if train_size + test_size > len(samples):
        raise ValueError(f"{train_size} + {test_size} samples wanted, there are {len(samples)}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(samples))
    classes = int(samples.labels.max()) + 1
    members = [order[samples.labels[order] == label] for label in range(classes)]
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
    return Dataset(train=_take(samples, np.sort(train)), test=_take(samples, np.sort(test)), classes=classes)


def _shares(counts: Labels, *, total: int) -> Labels:
    """``total`` shared out in proportion to ``counts``, by largest remainder."""
    exact = counts * (total / counts.sum())
    shares: Labels = np.floor(exact).astype(np.int64)
    largest = np.argsort(shares - exact, kind="stable")
    shares[largest[: total - int(shares.sum())]] += 1
    return shares


def _take(samples: Labelled, numbers: Labels) -> Labelled:
    return Labelled(images=samples.images[numbers], labels=samples.labels[numbers])
