"""Operators whose result is known before any sample is: computed once, by ONNX's own reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nnlib.importers.onnx.values import Fixed, Unsupported

LARGEST_NUMBERS: Final = 2**28
"""Of an array that is made of its shape alone."""


def folded(node: Any, inputs: Sequence[Fixed | None], *, opset: int, batch: int) -> tuple[Fixed, ...]:
    """The results of ``node``.

    An initialiser that only changes the order of its axes, or is repeated, stays one that can be learned. Arrays that
    are the same for each of ``batch`` samples are kept once.
    """
    found = None if inputs[:1] in ([], [None]) else _kept(node, inputs, batch)
    if found is not None:
        return (found,)
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "ConstantOfShape" and inputs[0] is not None:
        shape = tuple(int(length) for length in inputs[0].array)
        if prod(shape) > LARGEST_NUMBERS:
            raise Unsupported(f"it makes an array of the shape {shape}")
    arrays = {name: each.array for name, each in zip(node.input, inputs, strict=True) if each is not None}
    constants = [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in arrays.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "folded", [], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, {})
    except Exception as error:  # whatever the reference does not know or cannot do
        raise Unsupported(f"its inputs are known, but it cannot be computed beforehand ({error})") from None
    return tuple(Fixed(np.asarray(result)) for result in results)


def _kept(node: Any, inputs: Sequence[Fixed | None], batch: int) -> Fixed | None:
    """The result where it is known what becomes of a learned array, or of one that repeats."""
    first = inputs[0]
    assert first is not None
    arrays = [None if each is None else each.array for each in inputs]
    match node.op_type:
        case "Identity":
            return first
        case "Transpose":
            axes = next((tuple(each.ints) for each in node.attribute if each.name == "perm"), None)
            return first.transposed(axes or tuple(range(first.array.ndim))[::-1])
        case "Unsqueeze" if arrays[1] is not None:
            return _unsqueezed(first, arrays[1])
        case "Squeeze":
            return _squeezed(first, None if len(arrays) < 2 else arrays[1])
        case "Reshape" if first.weight is not None and arrays[1] is not None:
            shape = tuple(int(each) for each in arrays[1])
            return first.reshaped(shape) if 0 not in shape else None
        case "Expand" if arrays[1] is not None:
            shape = np.broadcast_shapes(first.array.shape, tuple(int(each) for each in arrays[1]))
            wide = np.broadcast_to(first.array, shape)
            return first if shape == first.array.shape else Fixed(wide, narrow=first)
        case "Gather" if arrays[1] is not None:
            axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
            return _gathered(first, inputs[1], arrays[1], axis, batch)
        case "Slice":
            return _first_rows(first, arrays)
    return None


def _unsqueezed(first: Fixed, axes: NDArray[Any]) -> Fixed:
    rank = first.array.ndim + axes.size
    new = {int(axis) % rank for axis in axes.reshape(-1)}
    lengths = iter(first.array.shape)
    return first.reshaped(tuple(1 if axis in new else next(lengths) for axis in range(rank)))


def _squeezed(first: Fixed, axes: NDArray[Any] | None) -> Fixed:
    shape = first.array.shape
    gone = {axis for axis, length in enumerate(shape) if length == 1}
    if axes is not None:
        gone = {int(axis) % len(shape) for axis in axes.reshape(-1)}
    return first.reshaped(tuple(length for axis, length in enumerate(shape) if axis not in gone))


def _gathered(data: Fixed, given: Fixed | None, places: NDArray[Any], axis: int, batch: int) -> Fixed | None:
    """Rows of a table, once if they are the same for each sample; all of them in their order are the table itself."""
    if axis or places.ndim == 0 or data.array.ndim == 0:
        return None
    narrow = given
    if places.ndim > 1 and len(places) == batch > 1 and np.all(places == places[:1]):
        narrow = Fixed(places[:1])
    elif given is not None and given.narrow is not None and given.narrow.array.ndim == places.ndim:
        narrow = given.narrow
    assert narrow is not None
    found = _rows(data, narrow.array)
    if found.array.shape[: places.ndim] != places.shape:
        return Fixed(np.broadcast_to(found.array, (*places.shape, *data.array.shape[1:])), narrow=found)
    return found


def _rows(data: Fixed, places: NDArray[Any]) -> Fixed:
    rest, count = data.array.shape[1:], places.size
    if data.weight is not None and places.size <= len(data.array) and np.all(places.reshape(-1) == np.arange(count)):
        if count == len(data.array):
            return data.reshaped((*places.shape, *rest))
        return Fixed(data.array[:count].reshape(*places.shape, *rest), table=data)
    return Fixed(data.array[places])


def _first_rows(data: Fixed, arrays: Sequence[NDArray[Any] | None]) -> Fixed | None:
    """The first rows of a learned table, which may have axes of length 1 in front."""
    if data.weight is None or len(arrays) < 4 or any(each is None or each.size != 1 for each in arrays[1:]):
        return None
    start, end, axis, *step = (int(each.reshape(-1)[0]) for each in arrays[1:] if each is not None)
    axis %= data.array.ndim
    if start or (step or [1]) != [1] or any(length != 1 for length in data.array.shape[:axis]):
        return None
    length = data.array.shape[axis]
    stop = slice(0, end).indices(length)[1]
    if stop >= length:
        return data
    index = (slice(None),) * axis + (slice(0, stop),)
    table = replace(data.reshaped(data.array.shape[axis:]))
    return Fixed(data.array[index], table=table)
