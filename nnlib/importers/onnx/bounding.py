"""Bounds, and choices between two arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from nnlib.importers.onnx.aligning import aligned, operand
from nnlib.importers.onnx.importer import Importer, rule
from nnlib.importers.onnx.products import scalar
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers.activation import ClippedReLU, ReLU, ReLU6
from nnlib.layers.binary import Add, Subtract
from nnlib.layers.layer import Layer
from nnlib.layers.scale import Scale

LARGEST: Final = 1e30
"""A bound that no number reaches."""


@rule("Clip")
def clip(importer: Importer, operator: Operator) -> None:
    low, high = importer.fixed(operator, 1), importer.fixed(operator, 2)
    x = importer.tensor(operator)
    least, most = -np.inf if low is None else scalar(low), np.inf if high is None else scalar(high)
    importer.set(operator, clipped(importer, operator, x, least, most))


@rule("Max", "Min")
def extreme(importer: Importer, operator: Operator) -> None:
    """Of two arrays ``a + max(b − a, 0)``; with a number, a bound."""
    found = importer.values[operator.inputs[0]]
    for name in operator.inputs[1:]:
        other = importer.values[name]
        if isinstance(found, Fixed):
            found, other = other, found
        if isinstance(found, Fixed):
            raise Unsupported("it compares two arrays known beforehand with a third")
        if isinstance(other, Fixed) and other.array.size == 1:
            least, most = (scalar(other), np.inf) if operator.type == "Max" else (-np.inf, scalar(other))
            found = clipped(importer, operator, found, least, most)
            continue
        greatest = operator.type == "Max"
        if isinstance(other, Fixed):
            more = operand(importer, operator, found, other, "subtract", first=greatest, suffix="more")
            found, more = aligned(importer, operator, found, more)
        else:
            found, other = aligned(importer, operator, found, other)
            pair = (other, found) if greatest else (found, other)
            more = importer.add(operator, Subtract, *pair, like=found, suffix="more")
        more = importer.add(operator, ReLU, more, like=more, suffix="above")
        found = importer.add(operator, Add if greatest else Subtract, found, more, like=more)
    importer.set(operator, found)


def clipped(importer: Importer, operator: Operator, x: Tensor, low: float, high: float) -> Tensor:
    """``min(max(x, low), high)``, exactly where 0 lies between the bounds."""
    if low <= 0 <= high:
        above = _rectified(importer, operator, x, high)
        if low == 0:
            return above
        turned = importer.add(operator, partial(Scale, factor=-1.0), x, like=x, suffix="turned")
        below = _rectified(importer, operator, turned, -low)
        return importer.add(operator, Subtract, above, below, like=x)
    if high < 0:
        turned = importer.add(operator, partial(Scale, factor=-1.0), x, like=x, suffix="turned")
        found = clipped(importer, operator, turned, -high, -low)
        return importer.add(operator, partial(Scale, factor=-1.0), found, like=x)
    moved = importer.add(operator, partial(Scale, offset=-low), x, like=x, suffix="moved")
    found = _rectified(importer, operator, moved, max(high - low, 0.0))
    return importer.add(operator, partial(Scale, offset=low), found, like=x)


def _rectified(importer: Importer, operator: Operator, x: Tensor, limit: float) -> Tensor:
    make: Callable[[str], Layer] = partial(ClippedReLU, limit=limit)
    if limit == 6:
        make = ReLU6
    elif not limit < LARGEST:
        make = ReLU
    return importer.add(operator, make, x, like=x)


@rule("IsNaN")
def is_nan(importer: Importer, operator: Operator) -> None:
    """Never, as far as is known beforehand: what asks guards against rows that are masked as a whole."""
    x = importer.tensor(operator)
    one = np.zeros((1,) * x.rank, dtype=np.bool_)
    importer.set(operator, Fixed(np.broadcast_to(one, x.shape), narrow=Fixed(one)))


@rule("Where")
def where(importer: Importer, operator: Operator) -> None:
    """A mask that is the same for all samples."""
    given = importer.known(operator, 0)
    mask = (given.narrow or given).array.astype(bool) if given.array.size else given.array
    a, b = (importer.values[name] for name in operator.inputs[1:])
    for only, all_of_it in ((a, mask.all()), (b, not mask.any())):
        if all_of_it and isinstance(only, Tensor):
            importer.set(operator, only)
            return
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        parts = (
            operand(importer, operator, each, Fixed(kept.astype(np.float32)), "multiply", first=False, suffix="mask")
            for each, kept in ((a, mask), (b, ~mask))
        )
        first, second = aligned(importer, operator, *parts)
        importer.set(operator, importer.add(operator, Add, first, second, like=first))
        return
    x, other, kept = (a, b, mask) if isinstance(a, Tensor) else (b, a, ~mask)
    if not isinstance(x, Tensor) or not isinstance(other, Fixed):
        raise Unsupported("it chooses between two arrays known beforehand")
    values = (other.narrow or other).array
    with np.errstate(invalid="ignore"):
        added = np.where(kept, values.dtype.type(0), values)
    if not np.isneginf(added[~np.broadcast_to(kept, added.shape)]).all():
        factor = Fixed(kept.astype(values.dtype))
        x = operand(importer, operator, x, factor, "multiply", first=False, suffix="mask")
    importer.set(operator, operand(importer, operator, x, Fixed(added), "add", first=False))
