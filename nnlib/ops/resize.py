"""Resizing images (B, H, W, C) to any number of pixels, rows and columns by themselves: nearest pixel and bilinear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.ops.axis_map import AxisMap, linear_map, nearest_map

Array = NDArray[np.floating]
Mode: TypeAlias = Literal["nearest", "bilinear"]


def resize_forward(x: Array, size: Sequence[int], *, mode: Mode = "nearest", align_corners: bool = False) -> Array:
    """(B, H, W, C) to (B, *size, C); sequences (B, T, C) to (B, *size, C) (torch.nn.functional.interpolate).

    ``align_corners``, for ``bilinear``: the outermost pixels stay at the corners.
    """
    for axis, count in enumerate(size, start=1):
        x = axis_map(x.shape[axis], count, mode=mode, align_corners=align_corners).apply(x, axis)
    return x


def resize_backward(
    grad: Array, input_shape: Sequence[int], *, mode: Mode = "nearest", align_corners: bool = False
) -> Array:
    """Gradient by images of ``input_shape`` from the gradient by the resized."""
    for axis in range(grad.ndim - 2, 0, -1):
        one = axis_map(input_shape[axis], grad.shape[axis], mode=mode, align_corners=align_corners)
        grad = one.transposed.apply(grad, axis)
    return grad


def axis_map(length: int, size: int, *, mode: Mode, align_corners: bool = False) -> AxisMap:
    """How ``size`` pixels come from ``length`` along an axis."""
    return nearest_map(length, size) if mode == "nearest" else linear_map(length, size, align_corners=align_corners)
