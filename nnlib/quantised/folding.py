"""Batch normalisation out of the way: in inference it is one factor and one term for each channel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnlib.graph import Graph, Node, Variables
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.layer import Array
from nnlib.layers.linear import Linear


def fold_batch_norms(graph: Graph, variables: Variables) -> tuple[Graph, dict[str, Array]]:
    """A graph with the same outputs in inference, and its variables.

    A normalisation behind a convolution or a linear layer that nobody else takes goes into the weights and the bias of
    that; one of images anywhere else becomes a depthwise convolution of 1 × 1. Layers share no parameters afterwards.
    """
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    found: dict[str, Node] = {}
    own: dict[str, dict[str, Array]] = {}
    now: dict[str, str] = {}
    """What stands for a normalisation that is gone."""
    for node in graph.nodes:
        inputs = tuple(now.get(name, name) for name in node.inputs)
        kept = graph.own(variables, node.name)
        layer = node.layer
        if isinstance(layer, BatchNorm):
            before = found.get(inputs[0])
            factor, term = factor_and_term(layer, kept)
            alone = len(users[node.inputs[0]]) == 1 and not {node.name, *inputs}.intersection(graph.outputs)
            if before is not None and alone and takes_factors(before):
                found[before.name] = replace(before, layer=replace(before.layer, bias=True))  # type: ignore[call-arg]
                own[before.name] = _scaled(before, own[before.name], factor, term)
                now[node.name] = before.name
                continue
            channels = graph.shapes[node.name][-1]
            if len(graph.shapes[node.name]) == 3:
                layer = Conv2d(node.name, channels, (1, 1), groups=channels)
                kept = {"weight": factor.reshape(1, 1, 1, -1), "bias": term}
        found[node.name] = Node(layer, inputs)
        own[node.name] = kept
    folded = Graph(graph.inputs, tuple(found.values()), graph.outputs)
    return folded, {f"{node}.{name}": array for node, arrays in own.items() for name, array in arrays.items()}


def factor_and_term(layer: BatchNorm, own: dict[str, Array]) -> tuple[Array, Array]:
    """What each channel is multiplied by, and what is added then."""
    factor = own.get("scale", np.ones_like(own["mean"])) / np.sqrt(own["variance"] + layer.epsilon)
    return factor, own.get("shift", np.zeros_like(own["mean"])) - own["mean"] * factor


def takes_factors(node: Node) -> bool:
    """True of layers with a weight whose last axis is the output's channels."""
    layer = node.layer
    if isinstance(layer, Linear):
        return not layer.transposed
    return isinstance(layer, Conv1d | Conv2d) or (isinstance(layer, ConvTranspose2d) and layer.groups == 1)


def _scaled(node: Node, own: dict[str, Array], factor: Array, term: Array) -> dict[str, Array]:
    bias = own.get("bias", np.zeros_like(term))
    return {**own, "weight": own["weight"] * factor, "bias": bias * factor + term}
