"""Sums, means and largest numbers along axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Final

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.values import Operator, Tensor, Unsupported
from nnlib.layers.activation import Abs, Exp, Log, Sqrt, Square
from nnlib.layers.axis_reduction import Mean, Sum
from nnlib.layers.global_pooling import GlobalMaxPool
from nnlib.layers.layer import Layer
from nnlib.layers.scale import Scale

Make = Callable[[str], Layer]

SUMS: Final[dict[str, tuple[Make | None, type[Mean] | type[Sum], Make | None]]] = {
    "ReduceMean": (None, Mean, None),
    "ReduceSum": (None, Sum, None),
    "ReduceSumSquare": (Square, Sum, None),
    "ReduceL1": (Abs, Sum, None),
    "ReduceL2": (Square, Sum, Sqrt),
    "ReduceLogSum": (None, Sum, Log),
    "ReduceLogSumExp": (Exp, Sum, Log),
}
"""What comes before a sum or mean, which it is, and what comes after."""


@rule(*SUMS)
def reduce(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    gone = _axes(importer, operator, x)
    if gone is None:
        importer.set(operator, x)
        return
    before, kind, after = SUMS[operator.type]
    if before is not None:
        x = importer.add(operator, before, x, like=x, suffix="terms")
    keep = bool(attribute(operator, "keepdims", 1))
    order, groups = (x.order, x.groups) if keep else x.without(gone)
    make = partial(kind, axes=tuple(sorted(x.axis(axis) for axis in gone)), keep=keep)
    y = importer.add(operator, make, x, order=order, groups=groups)
    importer.set(operator, y if after is None else importer.add(operator, after, y, like=y, suffix="result"))


@rule("ReduceMax", "ReduceMin")
def largest(importer: Importer, operator: Operator) -> None:
    """The kept axes become channels, over which the pooling of whole images goes."""
    x = importer.tensor(operator)
    gone = _axes(importer, operator, x)
    if gone is None:
        importer.set(operator, x)
        return
    places = {x.axis(axis) + 1 for axis in gone}
    inner = [place for place in range(1, len(x.order)) if place not in places]
    x = importer.reordered(
        operator, x, (x.order[0], *(x.order[p] for p in sorted(places)), *(x.order[p] for p in inner))
    )
    rows, kept = x.stored[1 : 1 + len(places)], x.stored[1 + len(places) :]
    flat = importer.reshaped(operator, x, (x.stored[0], prod(rows), prod(kept)), (0, 1, 2))
    least = operator.type == "ReduceMin"
    if least:
        flat = importer.add(operator, partial(Scale, factor=-1.0), flat, like=flat, suffix="negative")
    y = importer.add(operator, GlobalMaxPool, flat, order=(0, 1))
    if least:
        y = importer.add(operator, partial(Scale, factor=-1.0), y, like=y, suffix="positive")
    order, groups = x.without(gone)
    y = importer.reshaped(operator, y, (x.stored[0], *kept), order, groups)
    if attribute(operator, "keepdims", 1):
        y = importer.reshaped(operator, y, *y.unsqueezed(gone))
    importer.set(operator, y)


def _axes(importer: Importer, operator: Operator, x: Tensor) -> set[int] | None:
    """The ONNX axes, None where there are none and nothing is to be done."""
    listed = importer.integers(operator, 1)
    if listed is None:
        listed = list(attribute(operator, "axes", []))
    if not listed:
        if attribute(operator, "noop_with_empty_axes", 0):
            return None
        raise Unsupported("it goes over all axes, the batch among them")
    return {axis % x.rank for axis in listed}
