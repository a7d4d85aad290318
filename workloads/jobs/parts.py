"""What a launch's time is spent on, in the words of published breakdowns of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from nnlib.graph import Graph
from nnlib.kernels.arranging import layout
from nnlib.layers import activation, conv_transpose, convolution, global_pooling, linear, normalisation, pooling, prelu
from nnlib.program import Launch

Part: TypeAlias = Literal["conv", "pool", "activation", "fc", "tensor_trans", "bn", "others"]
PARTS: Final[tuple[Part, ...]] = ("conv", "pool", "activation", "fc", "tensor_trans", "bn", "others")
PART_OF_MODULE: Final[Mapping[str, Part]] = {
    convolution.__name__: "conv",
    conv_transpose.__name__: "conv",
    pooling.__name__: "pool",
    global_pooling.__name__: "pool",
    activation.__name__: "activation",
    prelu.__name__: "activation",
    linear.__name__: "fc",
    normalisation.__name__: "bn",
}
"""Layers are in one file per family."""


def layer_parts(graph: Graph) -> dict[str, Part]:
    """The part of each layer of a network that is not among the others."""
    found = {node.name: PART_OF_MODULE.get(type(node.layer).__module__) for node in graph.nodes}
    return {name: part for name, part in found.items() if part is not None}


def part_of(launch: Launch, layers: Mapping[str, Part]) -> Part:
    """The part of a launch; a transform between data layouts is one of its own, whatever layer asks for it."""
    if type(launch.kernel).__module__ == layout.__name__:
        return "tensor_trans"
    return layers.get(launch.layer, "others")
