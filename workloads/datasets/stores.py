"""Where samples come from: arrays in memory, generators, files that are decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnlib.batch import Arrays
from workloads.datasets.dataset import IMAGE, LABEL, Labelled, Labels
from workloads.datasets.image_folder import Cut, ImageFolder
from workloads.datasets.values import AS_THEY_ARE, Images, Values

LARGEST_TABLE_BYTES = 64 * 2**20
"""All distinct images are kept when they fit into this."""
LARGEST_GENERATED_BYTES = 256 * 2**20
"""All generated samples are kept when they fit into this."""
GENERATED_AT_A_TIME = 256
"""Samples generated in one go, which take several times the memory of what comes out."""
CUTS = 4096
"""In how many places and ways an image that is decoded may be cut out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStore:
    """Images in memory, to be learned from shifted by up to ``max_shift`` pixels and, with ``mirror``, mirrored."""

    samples: Labelled
    values: Values = AS_THEY_ARE
    max_shift: int = 0
    mirror: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def shifts(self) -> int:
        """The number of different shifts of an image."""
        return int((2 * self.max_shift + 1) ** 2)

    @property
    def variants(self) -> int:
        return self.shifts * (2 if self.mirror else 1)

    def arrays(self, samples: Labels, variants: Labels | None = None) -> Arrays:
        labels = self.samples.labels[samples]
        if variants is None:
            return {IMAGE: self.values.of(self.samples.images[samples]), LABEL: labels}
        if self._table is not None:
            return {IMAGE: self._table[samples * self.variants + variants], LABEL: labels}
        return {IMAGE: self._varied(samples, variants), LABEL: labels}

    def _varied(self, samples: Labels, variants: Labels) -> Images:
        shifts, mirrored = variants % self.shifts, variants // self.shifts
        images = shifted(self.values.of(self.samples.images[samples]), shifts, max_shift=self.max_shift)
        chosen = np.flatnonzero(mirrored)
        images[chosen] = images[chosen, :, ::-1]
        return images

    @cached_property
    def _table(self) -> Images | None:
        images = self.samples.images
        if images.size * 8 * self.variants > LARGEST_TABLE_BYTES:
            return None
        each = np.arange(len(images)).repeat(self.variants)
        return self._varied(each, np.tile(np.arange(self.variants), len(images)))


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedStore:
    """Samples ``first`` to ``first + count`` - 1 of a generator, which makes the arrays of samples of any numbers."""

    generate: Callable[[Labels], Arrays]
    first: int
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def variants(self) -> int:
        return 1

    def arrays(self, samples: Labels, variants: Labels | None = None) -> Arrays:
        if self._table is not None:
            return {name: array[samples] for name, array in self._table.items()}
        return self.generate(samples + self.first)

    @cached_property
    def _table(self) -> Arrays | None:
        one = self.generate(np.array([self.first]))
        if sum(array.nbytes for array in one.values()) * self.count > LARGEST_GENERATED_BYTES:
            return None
        table = {name: np.empty((self.count, *array.shape[1:]), array.dtype) for name, array in one.items()}
        for begin in range(0, self.count, GENERATED_AT_A_TIME):
            part = np.arange(begin, min(begin + GENERATED_AT_A_TIME, self.count))
            for name, array in self.generate(part + self.first).items():
                table[name][part] = array
        return table


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderStore:
    """The images ``numbers`` (n,) of a folder, decoded when asked for: their middles, or squares at random places.

    ``key`` decides which places. Raises BadInput for files that are no whole image.
    """

    folder: ImageFolder
    numbers: Labels
    cut: Cut
    values: Values = AS_THEY_ARE
    key: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def variants(self) -> int:
        return CUTS

    def arrays(self, samples: Labels, variants: Labels | None = None) -> Arrays:
        numbers = self.numbers[samples]
        if variants is None:
            pixels = self.folder.centre(numbers, cut=self.cut)
        else:
            pixels = self.folder.random(numbers, cut=self.cut, key=self.key, draws=samples * CUTS + variants)
        return {IMAGE: self.values.of(pixels), LABEL: self.folder.labels[numbers]}


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
