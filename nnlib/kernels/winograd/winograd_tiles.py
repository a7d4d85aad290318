"""Winograd's F(2×2, 3×3): tiles of 2 × 2 outputs under 4 × 4 inputs, and the matrices that transform them.

``y = A^T [(G g G^T) ⊙ (B^T d B)] A`` for a filter g of 3 × 3 and inputs d of 4 × 4 (Lavin and Gray 2015, section 4.1);
summed over input channels the products ⊙ are 16 matrix products. Its adjoints give the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.kernel import UnsuitablePlan
from sim.chip.memory import Array

PLANES: Final = 16
"""Elements of a transformed tile, each a matrix product of its own."""
REACH: Final = 4
"""Input rows and columns under a tile."""
STEP: Final = 2
"""Output rows and columns of a tile, and from one tile to the next."""
TAPS: Final = 3
LARGEST_PADDING: Final = 2


def input_matrix() -> Array:
    """B^T, (4, 4)."""
    return np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], dtype=np.float64)


def filter_matrix() -> Array:
    """G, (4, 3)."""
    return np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=np.float64)


def output_matrix() -> Array:
    """A^T, (2, 4)."""
    return np.array([[1, 1, 1, 0], [0, 1, -1, -1]], dtype=np.float64)


def both_sides(matrix: Array, tiles: Array) -> Array:
    """``matrix · tile · matrix^T`` of each tile on the first two axes; keeps the dtype of ``tiles``."""
    transformed: Array = np.einsum("ia,jb,ab...->ij...", matrix, matrix, tiles, optimize=True)
    return transformed.astype(tiles.dtype, copy=False)


def check_suitable(convolution: Convolution) -> None:
    """Raise UnsuitablePlan, with the reason, unless Winograd's algorithm can do the convolution."""
    wrong = []
    if (convolution.kr, convolution.kc) != (TAPS, TAPS):
        wrong.append(f"the kernel is {convolution.kr} × {convolution.kc}, not 3 × 3")
    if convolution.stride != 1:
        wrong.append(f"the stride is {convolution.stride}, not 1")
    if convolution.dilation != 1:
        wrong.append(f"the dilation is {convolution.dilation}, not 1")
    if convolution.padding > LARGEST_PADDING:
        wrong.append(f"the padding is {convolution.padding}, above {LARGEST_PADDING}")
    if wrong:
        raise UnsuitablePlan(kernel="winograd", reason=", ".join(wrong))


@dataclass(frozen=True)
class Grid:
    """The tiles of ``batch`` images of ``rows`` × ``columns`` outputs; the last of an odd number reaches beyond."""

    batch: int
    rows: int
    columns: int

    @classmethod
    def of(cls, convolution: Convolution) -> Grid:
        """The tiles of a convolution's outputs."""
        return cls(convolution.batch, convolution.ro, convolution.co)

    @property
    def tile_rows(self) -> int:
        return -(-self.rows // STEP)

    @property
    def tile_columns(self) -> int:
        return -(-self.columns // STEP)

    @property
    def tiles(self) -> int:
        return self.batch * self.tile_rows * self.tile_columns


@dataclass(frozen=True)
class Share:
    """What one of ``parts`` core groups does of a plan's work: number ``part``."""

    part: int = 0
    parts: int = 1

    def of(self, length: int) -> range:
        """This part of ``length`` things in a row; the last parts have fewer, perhaps none."""
        each = -(-length // self.parts)
        return range(min(length, self.part * each), min(length, (self.part + 1) * each))

    def region(self, grid: Grid) -> tuple[range, range]:
        """Samples and rows of tiles: whole samples where there are enough of them for all parts."""
        if grid.batch >= self.parts:
            return self.of(grid.batch), range(grid.tile_rows)
        return range(grid.batch), self.of(grid.tile_rows)


WHOLE: Final = Share()
"""All of it on one core group."""
