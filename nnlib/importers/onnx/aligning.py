"""Two arrays number by number: axes brought into one order, arrays of the file as operands."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.importers.onnx.importer import Importer
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported, groups_of
from nnlib.layers.embedding import PositionEmbedding
from nnlib.layers.layer import Shape
from nnlib.layers.operand import Operand

Kind: TypeAlias = Literal["add", "subtract", "multiply", "divide"]


def aligned(importer: Importer, operator: Operator, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both with as many axes, in the order in which the longer one, or ``a``, lies.

    Raises Unsupported where the batch is not at the same place in both.
    """
    rank = max(a.rank, b.rank)
    shapes = f"{a.shape} and {b.shape}"
    a, b = importer.widened(operator, a, rank), importer.widened(operator, b, rank)
    same = a.counts == b.counts and a.batch_axis == b.batch_axis
    if not same or any(
        a.factors[n] != b.factors[m]
        for n, m in zip(a.factors_of(a.batch_axis), b.factors_of(b.batch_axis), strict=True)
    ):
        raise Unsupported(f"its arrays have the shapes {shapes}, with the samples at different places")
    if prod(b.stored) > prod(a.stored):
        return importer.reordered(operator, a, b.order), b
    return a, importer.reordered(operator, b, a.order)


def spread(importer: Importer, operator: Operator, x: Tensor, axis: int, shape: Shape) -> Tensor:
    """An axis without the batch split into several."""
    factor, more = x.starts[axis], len(shape) - 1
    place = x.order.index(factor)
    order: list[int] = []
    for each in x.order:
        order += range(factor, factor + more + 1) if each == factor else [each + more * (each > factor)]
    stored = (*x.stored[:place], *shape, *x.stored[place + 1 :])
    counts = (*x.counts[:axis], *(1,) * len(shape), *x.counts[axis + 1 :])
    return importer.reshaped(operator, x, stored, tuple(order), groups_of(counts))


def operand(
    importer: Importer, operator: Operator, x: Tensor, fixed: Fixed, kind: Kind, *, first: bool, suffix: str = ""
) -> Tensor:
    """An array of the file as the second operand (as the ``first`` one), its axes as those of ``x`` lie."""
    x = importer.widened(operator, x, fixed.array.ndim)
    if fixed.narrow is not None and _covers(x.shape, fixed.array.shape):
        fixed = fixed.narrow
    positions = _positions(importer, operator, x, fixed, kind, suffix)
    if positions is not None:
        return positions
    fixed = _for_any_sample(x, fixed)
    wide = fixed.reshaped((1,) * (len(x.order) - fixed.array.ndim) + fixed.array.shape)
    laid = wide.transposed(x.order)
    shape = laid.array.shape[1:]
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    make = partial(Operand, operation=kind, shape=shape, first=first)
    return importer.add(operator, make, x, like=x, weights={"value": laid.reshaped(shape)}, suffix=suffix)


def _for_any_sample(x: Tensor, fixed: Fixed) -> Fixed:
    """The array with an axis for each factor of ``x``, of length 1 for the batch."""
    ahead = x.rank - fixed.array.ndim
    axis = x.batch_axis
    if axis < ahead:
        shape = (1,) * (len(x.order) - fixed.array.ndim) + fixed.array.shape
        return fixed.reshaped(shape)
    length, place = fixed.array.shape[axis - ahead], axis - ahead
    shape = fixed.array.shape
    factors = [x.factors[each] for each in x.factors_of(axis)] if length != 1 else [1] * x.counts[axis]
    if prod(factors) != length:
        raise Unsupported(f"its arrays have the shapes {x.shape} and {shape}")
    split = fixed.reshaped((*shape[:place], *factors, *shape[place + 1 :]))
    batch = place + x.order[0] - x.starts[axis]
    if split.array.shape[batch] == 1:
        return split
    one: NDArray[Any] = np.take(split.array, [0], axis=batch)
    if not np.array_equal(np.broadcast_to(one, split.array.shape), split.array, equal_nan=True):
        raise Unsupported(f"its array {shape} has other numbers for each sample")
    return Fixed(one)


def _positions(
    importer: Importer, operator: Operator, x: Tensor, fixed: Fixed, kind: Kind, suffix: str
) -> Tensor | None:
    """The first rows of a learned table added to sequences."""
    table = fixed.table
    if table is None or kind != "add" or x.rank != 3 or x.order != (0, 1, 2) or table.array.ndim != 2:
        return None
    if fixed.array.shape[-2:] != x.shape[1:] or fixed.array.size != prod(x.shape[1:]):
        return None
    make = partial(PositionEmbedding, positions=len(table.array))
    return importer.add(operator, make, x, like=x, weights={"weight": replace(table)}, suffix=suffix)


def _covers(shape: Shape, other: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, other) == shape
    except ValueError:
        return False
