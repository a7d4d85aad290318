"""Orders of axes, parts of arrays, and arrays one behind the other."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import prod
from typing import Final

import numpy as np

from nnlib.importers.onnx.aligning import aligned, operand, spread
from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.products import scalar
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers.arrangement import Concatenate, Pad, Select, Slice
from nnlib.layers.axis_reduction import Expand
from nnlib.layers.embedding import Embedding
from nnlib.layers.layer import Shape
from nnlib.layers.resize import Upsample
from nnlib.layers.scale import Scale
from nnlib.ops.resize import Mode

MOST_COPIES: Final = 1024
"""Of one array side by side."""


@rule("Transpose")
def transpose(importer: Importer, operator: Operator) -> None:
    """Nothing moves: only what the axes are called."""
    x = importer.tensor(operator)
    axes = list(attribute(operator, "perm", list(range(x.rank))[::-1]))
    if sorted(axes) != list(range(x.rank)):
        raise Unsupported(f"it puts the axes of {x.shape} in the order {axes}")
    importer.set(operator, x.permuted(axes))


@rule("Squeeze", "Unsqueeze")
def squeeze(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    axes = importer.integers(operator, 1)
    if operator.type == "Unsqueeze":
        rank = x.rank + len(axes or ())
        importer.set(operator, importer.reshaped(operator, x, *x.unsqueezed(axis % rank for axis in axes or ())))
        return
    shape = x.shape
    gone = {a for a, n in enumerate(shape) if n == 1} if axes is None else {axis % x.rank for axis in axes}
    if axes is not None and any(shape[axis] != 1 for axis in gone):
        raise Unsupported(f"it removes the axes {axes} of {shape}")
    importer.set(operator, importer.reshaped(operator, x, *x.squeezed(gone)))


@rule("Concat")
def concat(importer: Importer, operator: Operator) -> None:
    values = [importer.values[name] for name in operator.inputs]
    first = next(value for value in values if isinstance(value, Tensor))
    axis = operator.attributes["axis"] % first.rank
    parts = []
    for value in values:
        if isinstance(value, Fixed):
            parts.append(_constant(importer, operator, first, value, axis))
            continue
        if value.rank != first.rank:
            raise Unsupported(f"its arrays have the shapes {first.shape} and {value.shape}")
        parts.append(aligned(importer, operator, first, value)[1])
    importer.set(operator, importer.add(operator, partial(Concatenate, axis=first.axis(axis)), *parts, like=first))


@rule("Tile")
def tile(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    for axis, times in enumerate(importer.integers(operator, 1) or ()):
        if not 1 <= times <= MOST_COPIES:
            raise Unsupported(f"it repeats {x.shape} {times} times")
        if times > 1:
            x = importer.add(operator, partial(Concatenate, axis=x.axis(axis)), *[x] * times, like=x)
    importer.set(operator, x)


@rule("Split")
def split(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    place = x.axis(attribute(operator, "axis", 0))
    length, count = x.stored[place + 1], attribute(operator, "num_outputs", len(operator.outputs))
    each = -(-length // count)
    sizes = importer.integers(operator, 1) or [min(each, length - each * n) for n in range(count)]
    starts = np.cumsum([0, *sizes])
    parts = [_sliced(importer, operator, x, place, int(begin), int(end), 1) for begin, end in pairwise(starts)]
    importer.set(operator, *parts)


@rule("Slice")
def slice_(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    starts, ends = importer.integers(operator, 1), importer.integers(operator, 2)
    axes = importer.integers(operator, 3) or list(range(len(starts or ())))
    steps = importer.integers(operator, 4) or [1] * len(axes)
    for start, end, axis, step in zip(starts or (), ends or (), axes, steps, strict=True):
        length = x.shape[axis % x.rank]
        begin, stop, by = slice(start, end, step).indices(length)
        if (begin, stop, by) == (0, length, 1):
            continue
        x = _sliced(importer, operator, x, x.axis(axis), begin, stop, by)
    importer.set(operator, x)


@rule("Gather")
def gather(importer: Importer, operator: Operator) -> None:
    data = importer.values[operator.inputs[0]]
    axis = attribute(operator, "axis", 0)
    if isinstance(data, Fixed):
        tokens = importer.natural(operator, importer.tensor(operator, 1))
        if data.array.ndim != 2 or axis % data.array.ndim or not tokens.integer:
            raise Unsupported(f"it picks along axis {axis} of an array {data.array.shape}")
        count, features = data.array.shape
        order, groups = (*tokens.order, len(tokens.order)), (*tokens.groups, 1) if tokens.groups else ()
        make = partial(Embedding, count=count, features=features)
        importer.set(
            operator, importer.add(operator, make, tokens, order=order, groups=groups, weights={"weight": data})
        )
        return
    places = importer.known(operator, 1).array
    axis %= data.rank
    place = data.axis(axis)
    length = data.stored[place + 1]
    numbers = tuple(int(each) % length for each in places.reshape(-1))
    steps = {b - a for a, b in pairwise(numbers)} or {1}
    if len(steps) == 1 and min(steps) > 0:
        picked = _sliced(importer, operator, data, place, numbers[0], numbers[-1] + 1, min(steps))
    else:
        picked = importer.add(operator, partial(Select, axis=place, indices=numbers), data, like=data)
    if places.ndim == 0:
        picked = importer.reshaped(operator, picked, *picked.squeezed({axis}))
    elif places.ndim > 1:
        picked = spread(importer, operator, picked, axis, places.shape)
    importer.set(operator, picked)


@rule("Pad")
def pad(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    mode = attribute(operator, "mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"its mode is {mode}")
    widths = importer.integers(operator, 1) or []
    value, given = importer.fixed(operator, 2), importer.integers(operator, 3)
    axes = list(range(x.rank)) if given is None else [axis % x.rank for axis in given]
    laid = [(0, 0)] * (len(x.order) - 1)
    for number, axis in enumerate(axes):
        if (widths[number], widths[number + len(axes)]) != (0, 0):
            laid[x.axis(axis)] = widths[number], widths[number + len(axes)]
    fill = scalar(value) if value is not None and value.array.size else 0.0
    make = partial(Pad, widths=tuple(laid), mode=mode, value=fill)
    importer.set(operator, importer.add(operator, make, x, like=x) if any(map(any, laid)) else x)


@rule("Resize")
def resize(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    if x.rank not in (3, 4):
        raise Unsupported(f"its input has {x.rank} axes")
    axes = [axis % x.rank for axis in attribute(operator, "axes", range(x.rank))]
    scales, sizes = importer.fixed(operator, 2), importer.fixed(operator, 3)
    wanted = list(x.shape)
    if sizes is not None and sizes.array.size:
        for axis, length in zip(axes, sizes.array, strict=True):
            wanted[axis] = int(length)
    else:
        factors = importer.known(operator, 2).array if scales is None else scales.array
        for axis, factor in zip(axes, factors, strict=True):
            length = wanted[axis] * float(factor)
            wanted[axis] = round(length)
            if abs(length - wanted[axis]) > 1e-3:
                raise Unsupported(f"its factor {factor:g} makes no whole number of {x.shape[axis]} pixels")
    if wanted[:2] != list(x.shape[:2]):
        raise Unsupported(f"it makes {tuple(wanted)} of {x.shape}")
    size, lengths = tuple(wanted[2:]), x.stored[1:-1]
    if size == lengths:
        importer.set(operator, x)
        return
    kind, corners = _interpolation(operator, lengths, size)
    make = partial(Upsample, size=size if len(size) == 2 else size[0], mode=kind, align_corners=corners)
    importer.set(operator, importer.add(operator, make, x, like=x))


def _interpolation(operator: Operator, lengths: Shape, size: Shape) -> tuple[Mode, bool]:
    """The mode, and whether corners stay where they are, from ``lengths`` to ``size`` pixels."""
    mode = attribute(operator, "mode", "nearest")
    places = attribute(operator, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(operator, "nearest_mode", "round_prefer_floor")
    whole = all(new % old == 0 for new, old in zip(size, lengths, strict=True))
    halves = places in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    one = any(new == 1 < old for new, old in zip(size, lengths, strict=True))
    if mode == "nearest" and (places, rounding) == ("asymmetric", "floor"):
        return "nearest", False
    if mode == "nearest" and whole and halves and rounding.startswith("round"):
        return "nearest", False  # no pixel is between two
    if mode == "linear" and places in ("half_pixel", "half_pixel_symmetric", "align_corners") and not one:
        return "bilinear", places == "align_corners"
    if mode == "linear" and places == "pytorch_half_pixel" and not one:
        return "bilinear", False
    raise Unsupported(f"its mode is {mode} with {places} coordinates, from {lengths} to {size} pixels")


@rule("Expand")
def expand(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    wanted = tuple(importer.integers(operator, 1) or ())
    wide = importer.widened(operator, x, len(wanted))
    shape = np.broadcast_shapes(wide.shape, wanted)
    if shape == wide.shape:
        importer.set(operator, wide)
        return
    if shape[wide.batch_axis] != wide.shape[wide.batch_axis]:
        raise Unsupported(f"it repeats {x.shape} to {wanted}")
    lengths = list(wide.factors)
    for axis, length in enumerate(shape):
        if axis != wide.batch_axis:
            lengths[wide.starts[axis]] = length
    make = partial(Expand, shape=tuple(lengths[factor] for factor in wide.order[1:]))
    importer.set(operator, importer.add(operator, make, wide, like=wide))


def _constant(importer: Importer, operator: Operator, like: Tensor, fixed: Fixed, axis: int) -> Tensor:
    """An array of the file as a tensor of samples: zeros made of ``like`` and the array."""
    narrow = fixed.narrow or fixed
    length, place = fixed.array.shape[axis], like.axis(axis)
    shape = (*like.shape[:axis], length, *like.shape[axis + 1 :])
    if fixed.array.ndim != like.rank or np.broadcast_shapes(fixed.array.shape, shape) != shape:
        raise Unsupported(f"its arrays have the shapes {like.shape} and {fixed.array.shape}")
    row = _sliced(importer, operator, like, place, 0, min(length, like.stored[place + 1]), 1)
    if row.stored[place + 1] < length:
        row = _sliced(importer, operator, like, place, 0, 1, 1)
    zeros = importer.add(operator, partial(Scale, factor=0.0, offset=0.0), row, like=row, suffix="zeros")
    made = operand(importer, operator, zeros, narrow, "add", first=False, suffix="constant")
    if prod(made.stored) != prod(shape):
        wide = tuple(length if number == place + 1 else n for number, n in enumerate(made.stored))
        made = importer.add(operator, partial(Expand, shape=wide[1:]), made, like=made, suffix="repeated")
    return made


def _sliced(importer: Importer, operator: Operator, x: Tensor, place: int, begin: int, end: int, step: int) -> Tensor:
    if (begin, end, step) == (0, x.stored[place + 1], 1):
        return x
    stop = None if end < 0 else end
    make = partial(Slice, axis=place, start=begin, stop=stop, step=step)
    return importer.add(operator, make, x, like=x, suffix="part")
