"""The orders in which images lie in memory, where a plan can take more than one.

``channels-last`` is (batch, rows, columns, channels), the order of the reference and of training. ``channels-first``
is (channels, batch, rows, columns): Caffe's planes of pixels, those of all samples side by side, so that a matrix of
channels × pixels spans the batch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from sim.chip.dma import Integers
from sim.chip.memory import Array, Shape

Order: TypeAlias = Literal["channels-last", "channels-first"]


def ordered_shape(order: Order, *, batch: int, rows: int, columns: int, channels: int) -> Shape:
    """Shape of images."""
    if order == "channels-last":
        return batch, rows, columns, channels
    return channels, batch, rows, columns


def from_channels_last(order: Order, images: Array) -> Array:
    """Images (batch, rows, columns, channels) in the order, contiguous."""
    return images if order == "channels-last" else np.ascontiguousarray(images.transpose(3, 0, 1, 2))


def to_channels_last(order: Order, images: Array) -> Array:
    """Images in the order as (batch, rows, columns, channels)."""
    return images if order == "channels-last" else images.transpose(1, 2, 3, 0)


def image_index(
    order: Order, sample: Integers, row: Integers, column: Integers, channel: Integers
) -> tuple[Integers, ...]:
    """A place as indices of the images' axes."""
    return (sample, row, column, channel) if order == "channels-last" else (channel, sample, row, column)


def tiles_last(order: Order, tiles: Array) -> Array:
    """The CPEs' tiles of an image each, in the order, as (CPEs, rows, columns, channels): a view."""
    return tiles[:, 0] if order == "channels-last" else tiles[:, :, 0].transpose(0, 2, 3, 1)
