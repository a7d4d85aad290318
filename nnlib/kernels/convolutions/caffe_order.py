"""im2col as swCaffe does it: row by row of Caffe's planes of pixels (SWCAFFE §IV.B).

Each CPE gets a row of an image plane, shifts it for each tap and puts one row of output pixels into as many rows of the
column matrix. The taps of a kernel row go in one transfer, a row of the column matrix apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Final

import numpy as np

from nnlib.kernels.kernel import Arguments, Parameter, check_fits
from nnlib.kernels.views import seen_as
from nnlib.kernels.window import Window
from nnlib.ops.patches import im2col
from nnlib.precision import DTYPES, DTypeName
from sim.chip.dma import Integers
from sim.chip.ldm import aligned
from sim.chip.memory import Array, Shape

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup, Transfer

OUTSIDE: Final = 1 << 30
"""An index outside every array: what begins there is not transferred."""
CYCLES_PER_ELEMENT: Final = 2
"""To shift a pixel: a load and a store, both for P1; rows are shifted by single elements, so vectors do not fit."""


@dataclass(frozen=True)
class RowIm2col:
    """``cols[(channel, tap), (image, pixel)] =`` the pixel of x (batch, channels, rows, columns) under a tap.

    ``taps_first``: the rows of the column matrix are (tap, channel), as those of weights (kr, kc, ni, no) are.
    """

    window: Window
    dtype: DTypeName
    taps_first: bool = False

    @property
    def name(self) -> str:
        return "im2col_by_rows"

    @property
    def columns_shape(self) -> Shape:
        """Channels, kernel rows and columns, or these in front, then images, output rows and columns."""
        window = self.window
        rows = (*window.kernel, window.channels) if self.taps_first else (window.channels, *window.kernel)
        return *rows, window.batch, window.out_height, window.out_width

    def parameters(self) -> tuple[Parameter, ...]:
        window = self.window
        pixels = window.batch * window.out_height * window.out_width
        return (
            Parameter("x", (window.batch, window.channels, window.height, window.width), "in"),
            Parameter("cols", (window.channels * window.taps, pixels), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        window = self.window
        patches = im2col(arrays["x"].transpose(0, 2, 3, 1), window.kernel, window.stride, window.padding)
        patches = patches.reshape(-1, window.taps, window.channels)
        patches = patches.transpose(1, 2, 0) if self.taps_first else patches.transpose(2, 1, 0)
        arrays["cols"][...] = patches.reshape(arrays["cols"].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """Image by image. Raises InfeasiblePlan if a row and its copies do not fit the LDM."""
        window, item = self.window, DTYPES[self.dtype].itemsize
        kh, kw = window.kernel
        needed = 2 * aligned(item * window.width) + kh * aligned(item * kw * window.out_width)
        check_fits(kernel=self.name, needed=needed, processor=core_group.processor)
        _Program(self, core_group, arguments).run()


class _Program:
    """State of a run: two rows of the image, and for each kernel row what is put."""

    def __init__(self, kernel: RowIm2col, core_group: CoreGroup, arguments: Arguments) -> None:
        self.window, self.core_group, self.taps_first = kernel.window, core_group, kernel.taps_first
        window, dtype = kernel.window, DTYPES[kernel.dtype]
        self.x, self.cols = arguments["x"], seen_as(arguments["cols"], kernel.columns_shape)
        self.rows = [core_group.alloc(f"row{i}", size=(1, 1, 1, window.width), dtype=dtype) for i in range(2)]
        kh, kw = window.kernel
        size = (*((1, kw, 1) if kernel.taps_first else (1, 1, kw)), 1, 1, window.out_width)
        self.shifted = [core_group.alloc(f"shifted{i}", size=size, dtype=dtype) for i in range(kh)]
        self.puts: list[Transfer | None] = [None] * kh

    def run(self) -> None:
        window, group = self.window, self.core_group
        height = window.height + 2 * window.padding
        planes = window.channels * height
        rounds = -(-planes // group.cpes)
        # after so many rounds each CPE is at the same row of another channel
        period = height // gcd(height, group.cpes)
        for image in group.loop("images", window.batch, steady=range(1, window.batch)):
            coming = self.get(image, 0)
            for number in group.loop("rows", rounds, steady=range(2, planes // group.cpes - 1), period=period):
                group.wait(coming)
                if number + 1 < rounds:
                    coming = self.get(image, number + 1)
                self.spread(image, number)
        group.wait(*(put for put in self.puts if put is not None))
        group.free(*self.rows, *self.shifted)

    def places(self, number: int) -> tuple[Integers, Integers]:
        """Channel and row of each CPE in a round, rows of padding among them; a channel outside where it has none."""
        plane = number * self.core_group.cpes + np.arange(self.core_group.cpes, dtype=np.int64)
        window = self.window
        channel, row = np.divmod(plane, window.height + 2 * window.padding)
        return np.where(channel < window.channels, channel, OUTSIDE), row - window.padding

    def get(self, image: int, number: int) -> Transfer:
        channel, row = self.places(number)
        zero = np.zeros_like(row)
        return self.core_group.get(self.rows[number % 2], self.x, np.stack([zero + image, channel, row, zero], axis=1))

    def spread(self, image: int, number: int) -> None:
        """Shift the rows of a round for all taps, and put them."""
        window, group = self.window, self.core_group
        source = self.rows[number % 2]
        channel, row = self.places(number)
        zero = np.zeros_like(row)
        for tap_row, tile in enumerate(self.shifted):
            reached, rest = np.divmod(row + window.padding - tap_row, window.stride)
            met = (rest == 0) & (reached >= 0) & (reached < window.out_height) & (channel < OUTSIDE)
            put = self.puts[tap_row]
            if put is not None:
                group.wait(put)

            def run(tile_number: int = tap_row) -> None:
                self.shifted[tile_number].data = self.shift(source.values()[:, 0, 0, 0])

            cycles = np.where(met, CYCLES_PER_ELEMENT * window.kernel[1] * window.out_width, 0).tolist()
            group.compute("shift", cycles=cycles, reads=[source], writes=[tile], run=run)
            rows = (zero + tap_row, zero, channel) if self.taps_first else (channel, zero + tap_row, zero)
            starts = np.stack([*rows, zero + image, np.where(met, reached, OUTSIDE), zero], axis=1)
            self.puts[tap_row] = group.put(tile, self.cols, starts)

    def shift(self, rows: Array) -> Array:
        """Rows (CPEs, columns) under the taps of a kernel row, in the boxes that are put."""
        window = self.window
        padded = np.pad(rows, ((0, 0), (window.padding, window.padding)))
        last = (window.out_width - 1) * window.stride + 1
        taps = [padded[:, tap : tap + last : window.stride] for tap in range(window.kernel[1])]
        shifted = np.stack(taps, axis=1)[:, :, None, None]
        return shifted[:, None, :, None] if self.taps_first else shifted[:, None, None]
