"""The inputs of an ONNX file, with lengths for the axes that it leaves open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nnlib.graph import Input
from sim.problems import BadInput, Problem

ANY_BATCH: Final = 1009
"""Stands for a batch of any size where shapes are computed; a prime, so that no other length is a multiple of it."""
FLOATS: Final = {1: "FLOAT", 10: "FLOAT16", 11: "DOUBLE", 16: "BFLOAT16"}
INTEGERS: Final = {6: "INT32", 7: "INT64"}


def read_inputs(path: Path, model: Any, shapes: Mapping[str, int]) -> tuple[tuple[Input, ...], int]:
    """The inputs that are no initialisers, and the batch that the file's shapes speak of.

    ``shapes``: lengths by an axis's name or ``INPUT.AXIS``. Raises BadInput with every problem.
    """
    known = {each.name for each in model.graph.initializer}
    values = [value for value in model.graph.input if value.name not in known]
    problems: list[Problem] = []
    opened: set[str] = set()
    found = [_input(path, value, shapes, opened, problems) for value in values]
    if not values:
        problems.append(_problem(path, "", "a model with inputs"))
    batches = {value.type.tensor_type.shape.dim[0].dim_value for value in values if value.type.tensor_type.shape.dim}
    batches.discard(0)
    if len(batches) > 1:
        problems.append(_problem(path, "", "one batch size at the first axis of all inputs"))
    names = ", ".join(sorted(opened)) or "(there are none)"
    problems += [
        Problem(file=f"--shape {name}", key="", value=None, expected=f"one of the open axes {names}")
        for name in shapes
        if name not in opened
    ]
    if problems:
        raise BadInput(problems)
    return tuple(each for each in found if each is not None), batches.pop() if batches else ANY_BATCH


def clean(name: str) -> str:
    """A name of the file as layers and inputs have them."""
    return re.sub(r"[^A-Za-z0-9_.]+", ".", name).strip(".")


def _input(
    path: Path, value: Any, shapes: Mapping[str, int], opened: set[str], problems: list[Problem]
) -> Input | None:
    kind = value.type.tensor_type.elem_type
    dims = value.type.tensor_type.shape.dim
    if kind not in FLOATS and kind not in INTEGERS:
        kinds = ", ".join([*FLOATS.values(), *INTEGERS.values()])
        problems.append(_problem(path, value.name, f"numbers of a kind among {kinds}"))
        return None
    if not dims:
        problems.append(_problem(path, value.name, "an input with a batch as its first axis"))
        return None
    lengths = []
    for axis, dim in enumerate(dims[1:], start=1):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            lengths.append(dim.dim_value)
            continue
        names = [name for name in (dim.dim_param, f"{value.name}.{axis}") if name]
        opened.update(names)
        given = next((shapes[name] for name in names if name in shapes), None)
        if given is None:
            expected = f"a length for axis {axis} of this input; give --shape {names[0]}=LENGTH"
            problems.append(_problem(path, value.name, expected))
        else:
            lengths.append(given)
    return Input(clean(value.name), tuple(lengths), kind in INTEGERS)


def _problem(path: Path, key: str, expected: str) -> Problem:
    return Problem(file=str(path), key=key, value=None, expected=expected)
