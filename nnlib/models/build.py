"""A network from the layers of a workload file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from nnlib.graph import Graph
from nnlib.layers import Conv2d, Flatten, Layer, Linear, MaxPool, ReLU
from nnlib.losses import CrossEntropy
from nnlib.model import Model
from nnlib.models.schema import Conv2dKeys, FlattenKeys, LayerKeys, LinearKeys, MaxPoolKeys, ReluKeys


def build_graph(*, input_shape: tuple[int, ...], layers: Sequence[LayerKeys]) -> Graph:
    """The chain of ``layers`` over samples of ``input_shape``.

    A layer without a name is called by its type and its number among those of its type: ``conv2d1``.
    Raises ShapeError if the layers do not fit together.
    """
    seen: dict[str, int] = {}
    built = []
    for keys in layers:
        seen[keys.type] = seen.get(keys.type, 0) + 1
        built.append(_layer(keys, keys.name or f"{keys.type}{seen[keys.type]}"))
    return Graph.chain(input_shape, built)


def build_model(*, input_shape: tuple[int, ...], layers: Sequence[LayerKeys]) -> Model:
    """The chain of ``layers``, whose last gives logits, with softmax cross-entropy as its loss.

    Raises ShapeError if the layers do not fit together.
    """
    graph = build_graph(input_shape=input_shape, layers=layers)
    return Model(graph, (CrossEntropy(outputs=(graph.output,)),))


def _layer(keys: LayerKeys, name: str) -> Layer:
    match keys:
        case Conv2dKeys():
            square = (keys.kernel, keys.kernel)
            return Conv2d(name, keys.channels, square, keys.stride, keys.padding, keys.bias)
        case LinearKeys():
            return Linear(name, keys.units, keys.bias)
        case MaxPoolKeys():
            return MaxPool(name, (keys.kernel, keys.kernel), keys.stride or keys.kernel)
        case ReluKeys():
            return ReLU(name)
        case FlattenKeys():
            return Flatten(name)
        case _:
            assert_never(keys)
