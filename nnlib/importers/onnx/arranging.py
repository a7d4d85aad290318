"""Shapes, orders of axes, parts of arrays, and sums along axes."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import prod

import numpy as np

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.products import scalar
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported
from nnlib.layers import Concatenate, Embedding, Mean, Pad, Slice, Sum, Upsample
from nnlib.layers.layer import Shape


@rule("Reshape")
def reshape(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    wanted = [int(each) for each in importer.known(operator, 1).array]
    shape = x.shape
    if not attribute(operator, "allowzero", 0):
        wanted = [shape[axis] if length == 0 else length for axis, length in enumerate(wanted)]
    if -1 in wanted:
        rest = prod(length for length in wanted if length != -1)
        wanted[wanted.index(-1)] = prod(shape) // rest if rest else 0
    importer.set(operator, reshaped_to(importer, operator, x, tuple(wanted)))


@rule("Flatten")
def flatten(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    axis = attribute(operator, "axis", 1) % (x.rank + 1)
    shape = (prod(x.shape[:axis]), prod(x.shape[axis:]))
    importer.set(operator, reshaped_to(importer, operator, x, shape))


@rule("Transpose")
def transpose(importer: Importer, operator: Operator) -> None:
    """Nothing moves: only what the axes are called."""
    x = importer.tensor(operator)
    axes = list(attribute(operator, "perm", list(range(x.rank))[::-1]))
    importer.set(operator, Tensor(x.name, tuple(axes.index(axis) for axis in x.order), x.stored))


@rule("Squeeze", "Unsqueeze")
def squeeze(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    fixed = importer.fixed(operator, 1)
    if operator.type == "Squeeze":
        axes = {int(axis) % x.rank for axis in fixed.array} if fixed else {a for a, n in enumerate(x.shape) if n == 1}
        if x.batch_axis in axes:
            raise Unsupported("it removes the batch")
        kept = [axis for axis in range(x.rank) if axis not in axes]
        order = tuple(kept.index(axis) for axis in x.order if axis not in axes)
        stored = tuple(n for axis, n in zip(x.order, x.stored, strict=True) if axis not in axes)
    else:
        rank = x.rank + len(importer.known(operator, 1).array)
        new = {int(axis) % rank for axis in importer.known(operator, 1).array}
        old = [axis for axis in range(rank) if axis not in new]
        order = (*(old[axis] for axis in x.order), *sorted(new))
        stored = (*x.stored, *(1 for _ in new))
    importer.set(operator, importer.reshaped(operator, x, stored, order))


@rule("Concat")
def concat(importer: Importer, operator: Operator) -> None:
    first = importer.tensor(operator)
    others = [importer.tensor(operator, number) for number in range(1, len(operator.inputs))]
    tensors = [first, *(importer.reordered(operator, other, first.order) for other in others)]
    place = first.axis(operator.attributes["axis"])
    importer.set(operator, importer.add(operator, partial(Concatenate, axis=place), *tensors, order=first.order))


@rule("Split")
def split(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    place = x.axis(attribute(operator, "axis", 0))
    length, count = x.stored[place + 1], len(operator.outputs)
    given = importer.fixed(operator, 1)
    each = -(-length // count)
    sizes = [int(size) for size in given.array] if given else [min(each, length - each * n) for n in range(count)]
    starts = np.cumsum([0, *sizes])
    parts = [_sliced(importer, operator, x, place, int(begin), int(end), 1) for begin, end in pairwise(starts)]
    importer.set(operator, *parts)


@rule("Slice")
def slice_(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    starts, ends = (importer.known(operator, number).array for number in (1, 2))
    given_axes, given_steps = importer.fixed(operator, 3), importer.fixed(operator, 4)
    axes = given_axes.array if given_axes else np.arange(len(starts))
    steps = given_steps.array if given_steps else np.ones(len(starts), dtype=np.int64)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        length = x.shape[int(axis) % x.rank]
        begin, stop, by = slice(int(start), int(end), int(step)).indices(length)
        if (begin, stop, by) == (0, length, 1):
            continue
        x = _sliced(importer, operator, x, x.axis(int(axis)), begin, stop, by)
    importer.set(operator, x)


@rule("Gather")
def gather(importer: Importer, operator: Operator) -> None:
    data = importer.values[operator.inputs[0]]
    axis = attribute(operator, "axis", 0)
    if isinstance(data, Fixed):
        tokens = importer.natural(operator, importer.tensor(operator, 1))
        if data.array.ndim != 2 or axis % data.array.ndim:
            raise Unsupported(f"it picks along axis {axis} of an array {data.array.shape}")
        count, features = data.array.shape
        order = (*tokens.order, tokens.rank)
        make = partial(Embedding, count=count, features=features)
        importer.set(operator, importer.add(operator, make, tokens, order=order, weights={"weight": data}))
        return
    places = importer.known(operator, 1).array
    place = data.axis(axis)
    length = data.stored[place + 1]
    if places.ndim == 0:
        number = int(places) % length
        picked = _sliced(importer, operator, data, place, number, number + 1, 1)
        gone = axis % data.rank
        order = tuple(each - (each > gone) for each in data.order if each != gone)
        stored = (*picked.stored[: place + 1], *picked.stored[place + 2 :])
        importer.set(operator, importer.reshaped(operator, picked, stored, order))
        return
    steps = np.unique(np.diff(places % length)) if places.ndim == 1 and len(places) > 1 else np.array([1])
    if places.ndim != 1 or len(steps) != 1 or steps[0] < 1:
        raise Unsupported("it picks places that are not evenly apart")
    begin, by = int(places[0] % length), int(steps[0])
    importer.set(operator, _sliced(importer, operator, data, place, begin, begin + by * (len(places) - 1) + 1, by))


@rule("Pad")
def pad(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    mode = attribute(operator, "mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"its mode is {mode}")
    widths = [int(each) for each in importer.known(operator, 1).array]
    value, given = importer.fixed(operator, 2), importer.fixed(operator, 3)
    axes = [int(axis) % x.rank for axis in given.array] if given else list(range(x.rank))
    by_axis = {axis: (widths[n], widths[n + len(axes)]) for n, axis in enumerate(axes)}
    if by_axis.get(x.batch_axis, (0, 0)) != (0, 0):
        raise Unsupported("it adds samples")
    laid = tuple(by_axis.get(axis, (0, 0)) for axis in x.order[1:])
    fill = scalar(value) if value is not None and value.array.size else 0.0
    make = partial(Pad, widths=laid, mode=mode, value=fill)
    importer.set(operator, importer.add(operator, make, x, order=x.order))


@rule("Resize")
def resize(importer: Importer, operator: Operator) -> None:
    x = importer.channels_last(operator, importer.tensor(operator))
    if x.rank != 4:
        raise Unsupported(f"its input has {x.rank} axes")
    scales, sizes = importer.fixed(operator, 2), importer.fixed(operator, 3)
    if sizes is not None and sizes.array.size:
        height, width = (int(each) for each in sizes.array[-2:])
    else:
        factors = importer.known(operator, 2).array if scales is None else scales.array
        height, width = (int(n * f) for n, f in zip(x.stored[1:3], factors[-2:], strict=True))
    mode = attribute(operator, "mode", "nearest")
    places = attribute(operator, "coordinate_transformation_mode", "half_pixel")
    if mode == "nearest" and (places, attribute(operator, "nearest_mode", "round_prefer_floor")) in (
        ("asymmetric", "floor"),
    ):
        make = partial(Upsample, size=(height, width), mode="nearest")
    elif mode == "nearest" and height % x.stored[1] == 0 and width % x.stored[2] == 0 and places != "align_corners":
        make = partial(Upsample, size=(height, width), mode="nearest")  # whole factors: all rules agree
    elif mode == "linear" and places in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        corners = places == "align_corners"
        make = partial(Upsample, size=(height, width), mode="bilinear", align_corners=corners)
    else:
        raise Unsupported(f"its mode is {mode} with {places} coordinates")
    importer.set(operator, importer.add(operator, make, x, order=x.order))


@rule("ReduceMean", "ReduceSum")
def reduce(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    given = importer.fixed(operator, 1)
    listed = [int(axis) for axis in given.array] if given else attribute(operator, "axes", None)
    if not listed:
        raise Unsupported("it sums over all axes, the batch among them")
    gone = {axis % x.rank for axis in listed}
    places = tuple(sorted(x.axis(axis) for axis in gone))
    keep = bool(attribute(operator, "keepdims", 1))
    kind = Mean if operator.type == "ReduceMean" else Sum
    order = x.order
    if not keep:
        kept = [axis for axis in range(x.rank) if axis not in gone]
        order = tuple(kept.index(axis) for axis in x.order if axis not in gone)
    importer.set(operator, importer.add(operator, partial(kind, axes=places, keep=keep), x, order=order))


@rule("Expand")
def expand(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    wanted = tuple(int(each) for each in importer.known(operator, 1).array)
    if np.broadcast_shapes(x.shape, wanted) != x.shape:
        raise Unsupported(f"it repeats {x.shape} to {wanted}")
    importer.set(operator, x)


def reshaped_to(importer: Importer, operator: Operator, x: Tensor, shape: Shape) -> Tensor:
    """``x`` under another ONNX shape in which the batch is the axis that it was."""
    batch = x.batch_axis
    if len(shape) <= batch or shape[: batch + 1] != x.shape[: batch + 1]:
        raise Unsupported(f"it makes {shape} of {x.shape}, which moves numbers between samples")
    natural = importer.natural(operator, x)
    order = (batch, *(axis for axis in range(len(shape)) if axis != batch))
    return importer.reshaped(operator, natural, tuple(shape[axis] for axis in order), order)


def _sliced(importer: Importer, operator: Operator, x: Tensor, place: int, begin: int, end: int, step: int) -> Tensor:
    if step < 1:
        raise Unsupported(f"its step is {step}")
    make = partial(Slice, axis=place, start=begin, stop=end, step=step)
    return importer.add(operator, make, x, order=x.order)
