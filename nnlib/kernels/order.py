"""The orders in which images lie in memory, where a plan can take more than one.

``channels-last`` is (batch, rows, columns, channels), the order of the reference and of training. ``channels-first``
is (channels, batch, rows, columns): Caffe's planes of pixels, those of all samples side by side, so that a matrix of
channels × pixels spans the batch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

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
