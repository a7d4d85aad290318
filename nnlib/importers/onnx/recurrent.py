"""Recurrent operators: LSTM, GRU and RNN. Their sequences are (steps, batch, channels)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import numpy as np

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported, Weight
from nnlib.layers.arrangement import Concatenate, Slice
from nnlib.layers.layer import Array, Layer
from nnlib.layers.recurrent import GRU, LSTM, SimpleRecurrent
from nnlib.layers.sequence import LastStep

GATES: Final = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where each of the library's gates is among ONNX's: i, o, f, c and z, r, h."""
TURN: Final = partial(Slice, axis=0, start=None, stop=None, step=-1)
"""Sequences from the end."""


@rule("LSTM", "GRU", "RNN")
def recurrent(importer: Importer, operator: Operator) -> None:
    _check(importer, operator)
    batch_first = bool(attribute(operator, "layout", 0))
    x = importer.tensor(operator)
    if x.rank != 3 or not x.plain:
        raise Unsupported(f"its input has the shape {x.shape}")
    x = importer.reordered(operator, x, (0, 1, 2) if batch_first else (1, 0, 2))
    weight, recurrence = importer.known(operator, 1), importer.known(operator, 2)
    bias = importer.fixed(operator, 3)
    units = int(operator.attributes["hidden_size"])
    directions = weight.array.shape[0]
    backwards = _text(attribute(operator, "direction", "forward")) == "reverse"
    tensors = [x]
    if len(operator.inputs) > 4 and operator.inputs[4]:
        tensors += _lengths(importer, operator, x)
    if backwards:
        if len(tensors) > 1:
            raise Unsupported("it goes from the end alone, over sequences of different lengths")
        tensors = [importer.add(operator, TURN, x, like=x, suffix="turned")]
    weights: dict[str, Fixed] = {}
    for number in range(directions):
        weights |= _direction(operator, number, weight, recurrence, bias, units)
    make = partial(_layer(operator), units=units, bidirectional=directions == 2, bias=bias is not None)
    y = importer.add(operator, make, *tensors, order=x.order, weights=weights)
    _outputs(importer, operator, y, tensors[1:], directions, units, backwards=backwards)


def _lengths(importer: Importer, operator: Operator, x: Tensor) -> list[Tensor]:
    """The sequences' lengths, unless all are as long as the array."""
    lengths = importer.values[operator.inputs[4]]
    if isinstance(lengths, Tensor):
        return [lengths]
    if np.all(lengths.array == x.stored[1]):
        return []
    raise Unsupported("its sequences have lengths that do not come with the samples")


def _check(importer: Importer, operator: Operator) -> None:
    """Raise Unsupported for what the layers do not know."""
    if "clip" in operator.attributes:
        raise Unsupported("it clips its gates")
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
    given = [_text(each) for each in attribute(operator, "activations", [])]
    functions = usual.get(operator.type, given[:1])
    if any(given[start : start + len(functions)] != functions for start in range(0, len(given), len(functions) or 1)):
        raise Unsupported(f"its functions are {', '.join(given)}")
    if attribute(operator, "input_forget", 0):
        raise Unsupported("its forget gate follows from the input gate")
    if len(operator.inputs) > 7 and operator.inputs[7]:
        raise Unsupported("its gates look into the cell")
    for number in (5, 6):
        initial = importer.fixed(operator, number)
        if initial is not None and np.any(initial.array):
            raise Unsupported("its initial state is not 0")
    if len(operator.outputs) > 2 and operator.outputs[2] in importer.used:
        raise Unsupported("its final cell state is wanted")


def _layer(operator: Operator) -> Callable[..., Layer]:
    if operator.type == "LSTM":
        return LSTM
    if operator.type == "GRU":
        return partial(GRU, linear_before_reset=bool(attribute(operator, "linear_before_reset", 0)))
    names = [_text(each) for each in attribute(operator, "activations", ["Tanh"])]
    known: dict[str, Literal["tanh", "relu"]] = {"Tanh": "tanh", "Relu": "relu"}
    if names[0] not in known:
        raise Unsupported(f"its function is {names[0]}")
    return partial(SimpleRecurrent, activation=known[names[0]])


def _direction(
    operator: Operator, number: int, weight: Fixed, recurrence: Fixed, bias: Fixed | None, units: int
) -> dict[str, Fixed]:
    """The parameters of a direction, gates in the library's order."""
    suffix = "_reverse" if number else ""
    order = GATES[operator.type]
    found = {
        f"weight{suffix}": _learned(weight, _gates(weight.array[number], units, order).T, f"weight{suffix}"),
        f"recurrent{suffix}": _learned(
            recurrence, _gates(recurrence.array[number], units, order).T, f"recurrent{suffix}"
        ),
    }
    if bias is None:
        return found
    both = bias.array[number].reshape(2, -1)
    inside, outside = (_gates(each, units, order) for each in both)
    if operator.type != "GRU" or not attribute(operator, "linear_before_reset", 0):
        return found | {f"bias{suffix}": _learned(bias, inside + outside, f"bias{suffix}")}
    total = inside + outside
    total[2 * units :] = inside[2 * units :]  # what the reset gate multiplies has a bias of its own
    return found | {
        f"bias{suffix}": _learned(bias, total, f"bias{suffix}"),
        f"recurrent_bias{suffix}": _learned(bias, outside[2 * units :], f"recurrent_bias{suffix}"),
    }


def _gates(rows: Array, units: int, order: tuple[int, ...]) -> Array:
    return np.concatenate([rows[gate * units : (gate + 1) * units] for gate in order])


def _learned(source: Fixed, array: Array, part: str) -> Fixed:
    """A part of an initialiser, learned as the initialiser is."""
    weight = None
    if source.weight is not None:
        weight = Weight(f"{source.weight.name}:{part}", tuple(range(array.ndim)), array.shape, whole=False)
    return Fixed(np.ascontiguousarray(array), weight)


def _outputs(
    importer: Importer,
    operator: Operator,
    y: Tensor,
    lengths: list[Tensor],
    directions: int,
    units: int,
    *,
    backwards: bool,
) -> None:
    """All steps as (steps, directions, batch, units), and the last ones as (directions, batch, units).

    With the batch in front they are (batch, steps, directions, units) and (batch, directions, units).
    """
    batch, steps, _ = y.stored
    if operator.outputs[0] in importer.used:
        whole = importer.add(operator, TURN, y, like=y, suffix="turned") if backwards else y
        places = (0, 1, 2, 3) if y.order[0] == 0 else (2, 0, 1, 3)
        whole = importer.reshaped(operator, whole, (batch, steps, directions, units), places)
        importer.values[operator.outputs[0]] = whole
    if len(operator.outputs) < 2 or operator.outputs[1] not in importer.used:
        return
    if directions == 1:
        final = importer.add(operator, LastStep, y, *lengths, order=(0, 1), suffix="final")
    else:
        ahead, behind = (
            importer.add(
                operator,
                partial(Slice, axis=1, start=number * units, stop=(number + 1) * units),
                y,
                like=y,
                suffix="half",
            )
            for number in range(2)
        )
        ahead = importer.add(operator, LastStep, ahead, *lengths, order=(0, 1), suffix="final")
        first = importer.add(operator, partial(Slice, axis=0, start=0, stop=1), behind, like=y, suffix="final")
        back = importer.reshaped(operator, first, (batch, units), (0, 1))
        final = importer.add(operator, Concatenate, ahead, back, order=(0, 1), suffix="final")
    order = (0, 1, 2) if y.order[0] == 0 else (1, 0, 2)
    importer.values[operator.outputs[1]] = importer.reshaped(operator, final, (batch, directions, units), order)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
