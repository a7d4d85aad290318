"""What the rules for pooling share: windows, images and their pixels."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.lowering.site import Site
from nnlib.ops.pool_axis import PoolAxis
from nnlib.program import Layout


def two_axes(axes: Sequence[PoolAxis]) -> tuple[PoolAxis, PoolAxis]:
    """Windows along rows and columns; a sequence is an image of one column."""
    return (axes[0], axes[1]) if len(axes) == 2 else (axes[0], PoolAxis(1, 1, 1))


def images_of(site: Site, layout: Layout) -> tuple[int, int]:
    """Images and their channels: in Caffe's order every channel is an image, with pixels first images are channels."""
    channels = site.in_shape[-1]
    match layout:
        case "channels-last":
            return site.batch, channels
        case "planar":
            return site.batch * channels, 1
        case "pixels-first":
            return 1, channels * site.batch


def pixels_of(site: Site) -> tuple[int, int]:
    """Pixels and channels of a sample."""
    channels = site.in_shape[-1]
    pixels = 1
    for length in site.in_shape[:-1]:
        pixels *= length
    return pixels, channels
