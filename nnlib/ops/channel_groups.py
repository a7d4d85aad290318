"""Weights of a convolution in groups as matrices, small groups merged: a product with few channels is slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

MERGED_CHANNELS: Final = 32
"""Groups are merged up to so many input channels."""


@dataclass(frozen=True)
class GroupedWeights:
    """Weights of ``weight_shape`` (kh, kw, Ni of a group, No) in ``groups`` groups, ``merged`` of them in a matrix."""

    weight_shape: tuple[int, ...]
    groups: int

    @property
    def merged(self) -> int:
        """Groups in a matrix: zeros elsewhere."""
        most = max(1, MERGED_CHANNELS // self.weight_shape[2])
        return max(number for number in range(1, min(most, self.groups) + 1) if self.groups % number == 0)

    @property
    def count(self) -> int:
        """How many matrices there are."""
        return self.groups // self.merged

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The matrices by (number, kh, kw, input channels, output channels)."""
        kh, kw, ins, outs = self.weight_shape
        return self.count, kh, kw, ins * self.merged, outs // self.count

    def merge(self, weight: Array) -> Array:
        """The matrices (count, kh·kw·Ni of a matrix, No of a matrix); a view of a single one if it may be."""
        count, kh, kw, ins, outs = self.shape
        if self.groups == 1:
            return weight.reshape(1, kh * kw * ins, outs)
        matrices = np.zeros(self.shape, dtype=weight.dtype)
        self._blocks(matrices)[...] = self._by_group(weight)
        return matrices.reshape(count, kh * kw * ins, outs)

    def part(self, matrices: Array) -> Array:
        """The weights that stand in matrices of ``shape``."""
        if self.groups == 1:
            return matrices.reshape(self.weight_shape)
        weight = np.empty(self.weight_shape, dtype=matrices.dtype)
        self._by_group(weight)[...] = self._blocks(matrices)
        return weight

    def swap(self, weight: Array) -> Array:
        """Input and output channels exchanged: (kh, kw, No of a group, Ni), a view if there is one group."""
        kh, kw, ins, outs = self.weight_shape
        split = weight.reshape(kh, kw, ins, self.groups, outs // self.groups).transpose(0, 1, 4, 3, 2)
        return split.reshape(kh, kw, outs // self.groups, self.groups * ins)

    def _by_group(self, weight: Array) -> Array:
        """A view (kh, kw, Ni of a group, count, merged, No of a group)."""
        kh, kw, ins, outs = self.weight_shape
        return weight.reshape(kh, kw, ins, self.count, self.merged, outs // self.groups)

    def _blocks(self, matrices: Array) -> Array:
        """A view of the blocks of matrices that are not zero, as :meth:`_by_group` has them."""
        kh, kw, ins, outs = self.weight_shape
        split = matrices.reshape(self.count, kh, kw, self.merged, ins, self.merged, outs // self.groups)
        # the diagonal of the two axes of merged groups comes last
        blocks: Array = np.einsum("gijmcmo->ijcgmo", split)
        return blocks
