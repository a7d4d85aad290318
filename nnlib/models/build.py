"""A model from the ``model`` section of a workload file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nnlib.graph import INPUT, Graph, Input
from nnlib.layers.layer import Layer, Shape
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.loss import Loss
from nnlib.model import Model
from nnlib.models.catalogue import MODELS
from nnlib.models.network import Network
from nnlib.models.schema import LAYERS, LOSSES, OTHER_NAMES, FileKeys, LayersKeys, ModelKeys


def build_model(keys: ModelKeys, *, folder: Path = Path(), channels_last: bool = True) -> Model:
    """The model of layers, of a name or of a file, whose path is relative to ``folder``.

    ``channels_last``: the images of a file's model are (H, W, C), as those of all others are.

    Raises ShapeError if layers or losses do not fit together, BadInput if a file cannot be imported.
    """
    if isinstance(keys, FileKeys):
        return _imported(keys, folder, channels_last)
    if isinstance(keys, LayersKeys):
        shapes = {INPUT: keys.input} if isinstance(keys.input, tuple) else keys.input
        graph = build_graph(shapes, keys.layers)
        return Model(graph, (build_loss(keys.loss, graph),))
    return MODELS[keys.name](**{name: getattr(keys, name) for name in type(keys).model_fields if name != "name"})


def build_graph(shapes: Mapping[str, Shape], layers: Sequence[Any]) -> Graph:
    """The network of ``layers`` over inputs of these names, each behind the one before unless it says otherwise.

    The first layer takes the first input. A layer without a name is called by its type and its number among those of
    its type: ``conv2d1``. Inputs that tables are asked by, and those of shape (), are whole numbers.
    Raises ShapeError if the layers do not fit together.
    """
    seen: dict[str, int] = {}
    first = {0: (next(iter(shapes)),)}
    asked = {
        name
        for place, keys in enumerate(layers)
        if keys.type == "embedding"
        for name in keys.inputs or first.get(place, ())
    }
    network = Network(inputs=tuple(Input(name, shape, shape == () or name in asked) for name, shape in shapes.items()))
    for keys in layers:
        seen[keys.type] = seen.get(keys.type, 0) + 1
        layer = _layer(keys, keys.name or f"{keys.type}{seen[keys.type]}")
        network.join(layer, *(keys.inputs or (network.last,)))
    return network.graph()


def build_loss(keys: Any, graph: Graph) -> Loss:
    """The loss that ``keys`` describe, by default cross-entropy, of the network's output unless they say otherwise."""
    if keys is None:
        return CrossEntropy(outputs=(graph.output,))
    kind = LOSSES[keys.type]
    values = _values(kind, keys)
    if keys.target is not None:
        values["target"] = keys.target
    return kind(**{**values, "outputs": keys.outputs or (graph.output,), "weight": keys.weight})


def _imported(keys: FileKeys, folder: Path, channels_last: bool) -> Model:
    """The model of a file; without a loss it can only answer."""
    from nnlib.importers.onnx import load_onnx

    found = load_onnx(folder / keys.file, shapes=keys.shapes, channels_last=channels_last)
    losses = () if keys.loss is None else (build_loss(keys.loss, found.graph),)
    return Model(found.graph, losses, found.variables)


def _layer(keys: Any, name: str) -> Layer:
    kind = LAYERS[keys.type]
    values = _values(kind, keys)
    if values.get("stride", 0) is None:
        kernel = values["kernel"]
        values["stride"] = kernel[0] if isinstance(kernel, tuple) and len(set(kernel)) == 1 else kernel
    return kind(name, **values)


def _values(kind: type, keys: Any) -> dict[str, Any]:
    """The fields of a class that the keys give."""
    found = {}
    for field in fields(kind):
        key = OTHER_NAMES.get(field.name, field.name)
        if field.name not in ("name", "outputs", "target", "weight") and key in type(keys).model_fields:
            found[field.name] = getattr(keys, key)
    return found
