"""Pooling by PyTorch: windows as the layers count them, on images padded to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nnlib.ops.pool_axis import PoolAxis
from nnlib.ops.reach import pair
from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor, channels_last, images, numpy_dtype, to_tensor


@layer_rule("MaxPool", "MaxPool1d")
def max_pool(layer: Any, place: Place) -> Tensor:
    """The first largest number of a window takes the gradient, there as here."""
    x, axes = _images(layer, place.x)
    kernel, stride, dilation = ([getattr(each, name) for each in axes] for name in ("kernel", "stride", "dilation"))
    padding = [each.padding for each in axes]
    if any(each.after != each.padding or 2 * each.padding > each.kernel for each in axes):
        x, padding = functional.pad(x, _widths(axes), value=-torch.inf), [0, 0]
        pooled = functional.max_pool2d(x, kernel, stride, padding, dilation)
    else:
        pooled = functional.max_pool2d(x, kernel, stride, padding, dilation, layer.ceil)
    return _shaped(pooled, place.x)


@layer_rule("AveragePool", "AveragePool1d")
def average_pool(layer: Any, place: Place) -> Tensor:
    """Sums over windows, divided by how many pixels each counts."""
    x, axes = _images(layer, place.x)
    kernel, stride = ([getattr(each, name) for each in axes] for name in ("kernel", "stride"))
    sums = functional.avg_pool2d(functional.pad(x, _widths(axes)), kernel, stride, divisor_override=1)
    rows, columns = (each.sizes(padded=layer.count_padding) for each in axes)
    counts = np.multiply.outer(rows, columns).astype(numpy_dtype(x))
    return _shaped(sums / to_tensor(counts, x.device), place.x)


@layer_rule("GlobalAveragePool")
def global_average_pool(layer: Any, place: Place) -> Tensor:
    """Of all axes but samples and channels."""
    return place.x.mean(dim=tuple(range(1, place.x.ndim - 1)))


@layer_rule("GlobalMaxPool")
def global_max_pool(layer: Any, place: Place) -> Tensor:
    """The first of equal ones takes the gradient."""
    return place.x.flatten(1, -2).max(dim=1).values


@layer_rule("AdaptiveAveragePool")
def adaptive_average_pool(layer: Any, place: Place) -> Tensor:
    """Means of bins."""
    return channels_last(functional.adaptive_avg_pool2d(images(place.x), pair(layer.size)))


@layer_rule("AdaptiveMaxPool")
def adaptive_max_pool(layer: Any, place: Place) -> Tensor:
    """The largest of bins."""
    return channels_last(functional.adaptive_max_pool2d(images(place.x), pair(layer.size)))


def _images(layer: Any, x: Tensor) -> tuple[Tensor, Sequence[PoolAxis]]:
    """As PyTorch has images, sequences as of one row, and the windows along rows and columns."""
    axes = layer.axes(tuple(x.shape[1:]))
    if x.ndim == 4:
        return images(x), axes
    return images(x[:, None]), (PoolAxis(1, 1, 1), *axes)


def _shaped(y: Tensor, x: Tensor) -> Tensor:
    found = channels_last(y)
    return found if x.ndim == 4 else found[:, 0]


def _widths(axes: Sequence[PoolAxis]) -> list[int]:
    """Pixels before and behind columns and rows, such that the windows just fit."""
    return [
        width
        for each in reversed(axes)
        for width in (each.padding, (each.count - 1) * each.stride + each.reach - each.length - each.padding)
    ]
