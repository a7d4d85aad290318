"""From an ONNX file to a network of the library and the values of its variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from nnlib.graph import Graph
from nnlib.importers.onnx import arranging, bounding, normalising, pointwise, products, recurrent, reducing, reshaping
from nnlib.importers.onnx.file import first_line, read_onnx
from nnlib.importers.onnx.folding import folded
from nnlib.importers.onnx.importer import RULES, Importer, Origin
from nnlib.importers.onnx.inputs import clean, read_inputs
from nnlib.importers.onnx.values import Fixed, Operator, Tensor, Unsupported, Weight
from nnlib.layers.layer import Array
from sim.problems import BadInput, Problem

RULE_FILES: Final = (arranging, bounding, normalising, pointwise, products, recurrent, reducing, reshaping)
OF_SHAPES: Final = frozenset(
    {"And", "ArgMax", "Constant", "ConstantOfShape", "CumSum", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less"}
    | {"LessOrEqual", "Mod", "Not", "Or", "Range", "ScatterND", "Shape", "Size", "Trilu"}
)
"""Operators of shapes and masks, which need no rule where these are known beforehand."""
MADE_UP: Final = re.compile(r"val_\d+|onnx::\w+_\d+")
"""What PyTorch's exporters call arrays that are no parameters of a model, or not as they are."""
HALVES: Final = (10, 16)
"""ONNX's numbers of FLOAT16 and BFLOAT16, which are read as float32."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A network with the values of its parameters and statistics.

    Inputs and outputs are called as in the file. ``origins``: the initialiser behind each parameter that is
    one as it is, or with its axes in another order.
    """

    graph: Graph
    variables: dict[str, Array]
    origins: Mapping[str, Origin]
    outputs: Mapping[str, str]
    """For each output of the file the node that makes it."""


def load_onnx(path: Path, *, shapes: Mapping[str, int] | None = None, channels_last: bool = False) -> Imported:
    """Import a model whose first axis of each input is the batch.

    ``shapes``: lengths of axes that the file leaves open, by the names that it gives them or as ``INPUT.AXIS``.
    ``channels_last``: images come in and go out as (H, W, C) and not as in the file.
    Raises BadInput with every problem: a file that cannot be read, open axes, operators that are not supported, by
    name; ModuleNotFoundError when onnx is not installed.
    """
    try:
        model = read_onnx(path)
    except ModuleNotFoundError as error:
        text = "ONNX files are read with the package onnx: install it with `pip install 'taihusim[onnx]'`"
        raise ModuleNotFoundError(text, name=error.name) from error
    inputs, batch = read_inputs(path, model, shapes or {})
    importer = Importer(inputs, batch=batch, channels_last=channels_last)
    by_name = {value.name: importer.values.get(clean(value.name)) for value in model.graph.input}
    importer.used = {name for node in model.graph.node for name in node.input}
    importer.used.update(value.name for value in model.graph.output)
    importer.values.update({name: value for name, value in by_name.items() if value is not None})
    _initialisers(importer, path, model)
    problems = _operators(importer, model)
    if problems:
        raise BadInput([Problem(file=str(path), key=key, value=None, expected=text) for key, text in problems])
    return _finished(path, importer, model, channels_last=channels_last)


def _initialisers(importer: Importer, path: Path, model: Any) -> None:
    """Arrays of fractions are learned, but for infinities, and for single numbers that have no axes or no own name."""
    from onnx import numpy_helper

    for each in model.graph.initializer:
        try:
            array = numpy_helper.to_array(each)
        except Exception as error:  # whatever a damaged array leads to
            expected = f"an array with its numbers ({first_line(error)})"
            raise BadInput([Problem(file=str(path), key=each.name, value=None, expected=expected)]) from None
        if each.data_type in HALVES:
            array = array.astype(np.float32)
        learned = np.issubdtype(array.dtype, np.floating) and array.ndim > 0 and bool(np.isfinite(array).all())
        learned = learned and not (array.size == 1 and MADE_UP.fullmatch(each.name))
        weight = Weight(each.name, tuple(range(array.ndim)), array.shape) if learned else None
        importer.values[each.name] = Fixed(array, weight)


def _operators(importer: Importer, model: Any) -> list[tuple[str, str]]:
    """Import every node; what cannot be is listed by node, what depends on it passed over."""
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    unknown: dict[str, list[str]] = {}
    problems: list[tuple[str, str]] = []
    for node in model.graph.node:
        name = node.name or (node.output[0] if node.output else node.op_type)
        own = node.domain in ("", "ai.onnx")
        kind = node.op_type if own else f"{node.domain}.{node.op_type}"
        if any(each and each not in importer.values for each in node.input):
            if not own or node.op_type not in RULES.keys() | OF_SHAPES:
                unknown.setdefault(kind, []).append(name)
            continue
        try:
            if not _operator(importer, node, name, opset):
                unknown.setdefault(kind, []).append(name)
        except Unsupported as error:
            problems.append((name, f"a use of {kind} that is supported: {error}"))
        except KeyError as error:
            problems.append((name, f"attribute {error} of {kind}"))
        except (
            ArithmeticError,
            AttributeError,
            IndexError,
            MemoryError,
            StopIteration,
            TypeError,
            ValueError,
        ) as error:
            problems.append((name, f"attributes and inputs of {kind} that fit together ({first_line(error)})"))
    listed = [
        (", ".join(names), f"only supported operators; {kind} is not one of them") for kind, names in unknown.items()
    ]
    return listed + problems


def _operator(importer: Importer, node: Any, name: str, opset: int) -> bool:
    """Import a node; False where no rule knows its type."""
    values = [importer.values[each] if each else None for each in node.input]
    own = node.domain in ("", "ai.onnx")
    if own and node.op_type in ("Shape", "Size") and values and isinstance(values[0], Tensor):
        shape = values[0].shape
        at = {each.name: each.i for each in node.attribute}
        lengths = shape[at.get("start", 0) : at.get("end", len(shape))]
        known = np.array(lengths if node.op_type == "Shape" else prod(shape), dtype=np.int64)
        importer.values[node.output[0]] = Fixed(known)
        return True
    if own and not any(isinstance(each, Tensor) for each in values):
        fixed = [each if isinstance(each, Fixed) else None for each in values]
        results = folded(node, fixed, opset=opset, batch=importer.batch)
        for output, result in zip([each for each in node.output if each], results, strict=True):
            importer.values[output] = result
        return True
    if not own or node.op_type not in RULES:
        return False
    from onnx import helper

    attributes = {each.name: _plain(helper.get_attribute_value(each)) for each in node.attribute}
    operator = Operator(node.op_type, _layer_name(node, name), attributes, tuple(node.input), tuple(node.output), opset)
    RULES[node.op_type](importer, operator)
    return True


def _finished(path: Path, importer: Importer, model: Any, *, channels_last: bool) -> Imported:
    outputs: dict[str, str] = {}
    problems = []
    for value in model.graph.output:
        found = importer.values.get(value.name)
        if not isinstance(found, Tensor):
            expected = "an output that some operator makes from the inputs"
            problems.append(Problem(file=str(path), key=value.name, value=None, expected=expected))
            continue
        operator = Operator("Output", clean(value.name), {}, (), (), 0)
        try:
            images = channels_last and found.rank == 4
            natural = importer.channels_last(operator, found) if images else importer.natural(operator, found)
            if natural.batch_axis or not natural.plain:
                raise Unsupported(f"the samples are in axis {natural.batch_axis} of {natural.shape}")
        except Unsupported as error:
            problems.append(
                Problem(file=str(path), key=value.name, value=None, expected=f"the batch in front: {error}")
            )
            continue
        outputs[value.name] = natural.name
    if problems:
        raise BadInput(problems)
    if not importer.network.nodes:
        raise BadInput([Problem(file=str(path), key="", value=None, expected="a model that computes something")])
    graph = importer.network.graph(*outputs.values())
    needed = graph.inference
    return Imported(
        graph=needed,
        variables={name: importer.variables[name] for name in needed.variables},
        origins={name: origin for name, origin in importer.origins.items() if name in needed.parameters},
        outputs=outputs,
    )


def _layer_name(node: Any, name: str) -> str:
    """As the node is called, or where it has none by its output."""
    return clean(name) or str(node.op_type)


def _plain(value: Any) -> Any:
    """Text as such, and fractions as the shortest decimals that are the file's single-precision numbers."""
    if isinstance(value, float):
        return float(str(np.float32(value)))
    return value.decode() if isinstance(value, bytes) else value
