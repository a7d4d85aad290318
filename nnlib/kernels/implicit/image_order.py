"""The orders in which images lie in memory for the image-size-aware plan.

``pixels-first``: (rows, columns, channels, images), which all implicit plans share from 2018 on (SWCAFFE, TACO18).
``four-images``: (images / 4, channels, rows, columns, 4), four images side by side to fill a vector, so that a row of
pixels of one channel is one run of memory. It stands for the order of the 2017 library, where this plan takes 32
images at a time: of the blocks in SWDNN17 table II, 576 B and 640 B are 18 and 20 such pixels of fp64, the input row
of 16 output pixels under 3 and 5 taps. [derived] Fewer than four images lie side by side as they are; one image so is
in Caffe's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.implicit.pixel_major import images_to_channels_last, images_to_pixel_major
from sim.chip.dma import Integers
from sim.chip.memory import Array, Shape

OrderName: TypeAlias = Literal["pixels-first", "four-images"]
VECTOR: Final = 4
"""Most images side by side in the order ``four-images``."""
OUTSIDE: Final = 1 << 30
"""An index outside every array: a box that begins there is not transferred."""


@dataclass(frozen=True)
class Images:
    """A number of images of ``rows`` × ``columns`` pixels whose channels are in ``groups``, in one of the orders."""

    order: OrderName
    batch: int
    channels: int
    rows: int
    columns: int
    groups: int = 1

    @property
    def lanes(self) -> int:
        """Images in which a box's number of images comes: those side by side."""
        return 1 if self.order == "pixels-first" else min(self.batch, VECTOR)

    @property
    def stored_batch(self) -> int:
        """Images that the array holds: in fours, the last ones zeros."""
        return -(-self.batch // self.lanes) * self.lanes

    @property
    def shape(self) -> Shape:
        """Of the array."""
        if self.order == "pixels-first":
            return self.rows, self.columns, self.channels, self.batch
        return self.stored_batch // self.lanes, self.channels, self.rows, self.columns, self.lanes

    @property
    def grouped_shape(self) -> Shape:
        """Of the array with its channels seen by group, on the axes of :meth:`box_size`."""
        own = self.channels // self.groups
        if self.order == "pixels-first":
            return self.rows, self.columns, self.groups, own, self.batch
        return self.stored_batch // self.lanes, self.groups, own, self.rows, self.columns, self.lanes

    def box_size(self, *, images: int, channels: int, columns: int) -> Shape:
        """A CPE's part of one row of pixels of one group. ``images`` come in ``lanes``."""
        if self.order == "pixels-first":
            return 1, columns, 1, channels, images
        return images // self.lanes, 1, channels, 1, columns, self.lanes

    def starts(self, *, image: Integers, group: int, channel: Integers, row: Integers, column: int) -> Integers:
        """Where the CPEs' boxes begin, (CPEs, axes)."""
        same = np.ones_like(image)
        axes: tuple[Integers, ...] = (row, column * same, group * same, channel, image)
        if self.order == "four-images":
            axes = (image // self.lanes, group * same, channel, row, column * same, 0 * same)
        return np.stack(axes, axis=1)

    def gather(self, boxes: Array) -> Array:
        """Boxes (CPEs, *box) as (CPEs, columns, images, channels)."""
        if self.order == "pixels-first":
            return boxes[:, 0, :, 0].transpose(0, 1, 3, 2)
        parts = boxes[:, :, 0, :, 0].transpose(0, 3, 1, 4, 2)
        return parts.reshape(*parts.shape[:2], -1, parts.shape[-1])

    def scatter(self, parts: Array) -> Array:
        """(CPEs, columns, images, channels) as boxes (CPEs, *box)."""
        if self.order == "pixels-first":
            return parts.transpose(0, 1, 3, 2)[:, None, :, None]
        cpes, columns, images, channels = parts.shape
        fours = parts.reshape(cpes, columns, images // self.lanes, self.lanes, channels).transpose(0, 2, 4, 1, 3)
        return fours[:, :, None, :, None]

    def rows_of(self, array: Array, rows: slice) -> Array:
        """Some rows of pixels of the array."""
        return array[rows] if self.order == "pixels-first" else array[:, :, rows]

    def channels_last(self, array: Array) -> Array:
        """The array as (images, rows, columns, channels)."""
        if self.order == "pixels-first":
            return images_to_channels_last(array)
        return np.ascontiguousarray(array.transpose(0, 4, 2, 3, 1)).reshape(-1, self.rows, self.columns, self.channels)

    def stored(self, images: Array) -> Array:
        """(images, rows, columns, channels) as the array."""
        if self.order == "pixels-first":
            return images_to_pixel_major(images)
        fours = images.reshape(-1, self.lanes, *images.shape[1:])
        return np.ascontiguousarray(fours.transpose(0, 4, 2, 3, 1))
