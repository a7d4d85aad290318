"""Which layers of a network compute in integers, with which steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nnlib.graph import Graph, Node, Variables
from nnlib.layers.activation import ClippedReLU, ReLU, ReLU6
from nnlib.layers.arrangement import Concatenate, Flatten, Reshape
from nnlib.layers.average_pooling import AveragePool
from nnlib.layers.binary import Add
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.layer import Array, Shape
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.ops.reach import pair
from nnlib.precision.calibration import Calibration
from nnlib.precision.fixed import quantise
from nnlib.precision.formats import STORAGE, IntegerName, integer_bits, integer_limits
from nnlib.precision.integer import quantised_bias, sum_scales
from nnlib.quantised.operations import Ending, Joined, Largest, Operation, Same, Sum, Weighted, WeightedLayer

SUMS_LIMIT: Final = 2.0**30
"""What the products of a sum may add up to. It coarsens the steps of int16 weights; int8 sums never come near it."""
RECTIFIERS: Final = (ReLU, ReLU6, ClippedReLU)
RESHAPES: Final = (Flatten, Reshape, Dropout)
"""Layers that leave all numbers as they are in inference."""


def is_product(node: Node) -> bool:
    """True of layers whose weights are integers."""
    layer = node.layer
    return isinstance(layer, Linear | Conv2d | Conv1d) or (isinstance(layer, ConvTranspose2d) and is_enlarging(layer))


def is_enlarging(layer: ConvTranspose2d) -> bool:
    """True if each input pixel has a block of output pixels of its own: a product, and its results rearranged."""
    stride, padding = pair(layer.stride), layer.padding
    plain = layer.groups == 1 and pair(layer.dilation) == (1, 1) and pair(layer.output_padding) == (0, 0)
    return plain and stride == layer.kernel and padding in (0, (0, 0), (0, 0, 0, 0))


def fused_relus(graph: Graph) -> dict[str, str]:
    """For each layer of sums that a ReLU, with a limit or not, takes, and nobody else, that ReLU."""
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    return {
        node.name: users[node.name][0].name
        for node in graph.nodes
        if _has_sums(graph, node)
        and node.name not in graph.outputs
        and len(users.get(node.name, [])) == 1
        and isinstance(users[node.name][0].layer, RECTIFIERS)
    }


def integer_forms(
    graph: Graph, variables: Variables, observed: Mapping[str, float], storage: IntegerName, *, per_channel: bool
) -> tuple[dict[str, float], dict[str, Operation]]:
    """The step of every input and node, and what those nodes do that have an integer form.

    ``observed``: steps by calibration. Layers that only move numbers, or choose among them, keep the step of their
    input, and work on integers if that is integers.
    """
    forms = _Forms(graph, variables, storage, per_channel, fused_relus(graph), dict(observed), {})
    for node in graph.nodes:
        forms.see(node)
    return forms.steps, forms.operations


@dataclass(frozen=True, eq=False)
class _Forms:
    """State on the way through the graph."""

    graph: Graph
    variables: Variables
    storage: IntegerName
    per_channel: bool
    fused: Mapping[str, str]
    steps: dict[str, float]
    operations: dict[str, Operation]

    def see(self, node: Node) -> None:
        """The operation of a node, if it has one."""
        inputs = {each.name: each.integer for each in self.graph.inputs}
        if any(inputs.get(name, False) for name in node.inputs):
            return
        layer, source = node.layer, node.inputs[0]
        moved = inputs.get(source) is False or source in self.operations
        if source in self.fused and self.fused[source] == node.name:
            self.keep(node)
        elif _has_sums(self.graph, node):
            self.sums(node)
        elif isinstance(layer, RECTIFIERS) and moved:
            self.operations[node.name] = self.sum(node, node)
        elif isinstance(layer, RESHAPES) and moved:
            self.keep(node)
        elif isinstance(layer, MaxPool | MaxPool1d | GlobalMaxPool) and moved:
            self.steps[node.name] = self.steps[source]
            self.operations[node.name] = Largest(layer)
        elif isinstance(layer, Concatenate):
            step = self.steps[node.name]
            parts = tuple(
                None if self.steps[name] == step else Sum(sum_scales([self.steps[name]], step, self.storage), Ending())
                for name in node.inputs
            )
            self.operations[node.name] = Joined(layer, parts)

    def keep(self, node: Node) -> None:
        """The input's integers."""
        self.steps[node.name] = self.steps[node.inputs[0]]
        self.operations[node.name] = Same(self.graph.shapes[node.name])

    def sums(self, node: Node) -> None:
        """A layer of sums, with the ReLU behind it if there is one."""
        last = self.graph.by_name[self.fused[node.name]] if node.name in self.fused else node
        if isinstance(node.layer, Add):
            self.operations[node.name] = self.sum(node, last)
        else:
            self.operations[node.name] = self.weighted(node, last)

    def sum(self, node: Node, last: Node) -> Sum:
        """Of the inputs of ``node``, rectified as ``last`` says."""
        ending = self.ending(node, last)
        return Sum(sum_scales([self.steps[name] for name in node.inputs], self.steps[node.name], self.storage), ending)

    def ending(self, node: Node, last: Node) -> Ending:
        """How ``last`` rectifies; the step of ``node`` becomes its."""
        step, layer = self.steps[last.name], last.layer
        self.steps[node.name] = step
        limit = 6.0 if isinstance(layer, ReLU6) else layer.limit if isinstance(layer, ClippedReLU) else None
        if limit is None:
            return Ending(relu=isinstance(layer, ReLU))
        whole = limit / integer_limits(self.storage)[1]
        self.steps[node.name] = min(step, whole)
        # of a smaller threshold what is cut off is saturation, not the limit's doing
        return Ending(relu=True, clipped=step >= whole * (1 - 1e-12))

    def weighted(self, node: Node, last: Node) -> Weighted:
        """A layer with weights, or a mean."""
        given, source = self.graph.shapes[node.name], self.graph.shapes[node.inputs[0]]
        ending = self.ending(node, last)
        step, into = self.steps[node.inputs[0]], self.steps[node.name]
        mean = _as_convolution(node, source)
        if mean is not None:
            channels = source[-1]
            weight = np.ones((*mean.kernel, 1, channels), dtype=STORAGE[self.storage])
            multiplier = np.full(channels, step / prod(mean.kernel) / into)
            taken = source if len(source) == 3 else (1, *source)
            return Weighted(mean, taken, given, weight, np.zeros(channels, np.int32), multiplier, ending)
        layer: WeightedLayer = node.layer  # type: ignore[assignment]
        own = self.graph.own(self.variables, node.name)
        weight, layer = _columns(own["weight"], layer)
        steps = self.weight_steps(weight)
        sums = step * steps
        narrow, _ = quantise(weight, steps, self.storage)
        bias = quantised_bias(own.get("bias", np.zeros(weight.shape[-1])), sums)
        return Weighted(layer, source, given, narrow, bias, sums / into, ending)

    def weight_steps(self, weight: Array) -> NDArray[np.float64]:
        """Steps of the output channels such that no sum leaves 32 bits, whatever comes in."""
        steps = Calibration().channel_steps(weight, self.storage)
        reach = np.abs(weight).reshape(-1, weight.shape[-1]).sum(axis=0)
        # a half of what 32 bits hold is the bias's
        steps = np.maximum(steps, reach * 2.0 ** (integer_bits(self.storage) - 1) / SUMS_LIMIT)
        return steps if self.per_channel else np.full_like(steps, steps.max())


def _columns(weight: Array, layer: WeightedLayer) -> tuple[Array, WeightedLayer]:
    """Weights whose last axis is the output's channels."""
    if isinstance(layer, Linear) and layer.transposed:
        return np.ascontiguousarray(weight.T), Linear(layer.name, layer.out_features, layer.bias)
    return weight, layer


def _has_sums(graph: Graph, node: Node) -> bool:
    """True of layers that make narrow integers of 32-bit sums."""
    source = graph.shapes[node.inputs[0]]
    if isinstance(node.layer, Add):
        return len({graph.shapes[name] for name in node.inputs}) == 1
    return is_product(node) or _as_convolution(node, source) is not None


def _as_convolution(node: Node, source: Shape) -> Conv2d | None:
    """A mean of windows that all have as many pixels, as a depthwise convolution."""
    layer, channels = node.layer, source[-1]
    if isinstance(layer, GlobalAveragePool) and len(source) in (2, 3):
        kernel = (1, source[0]) if len(source) == 2 else (source[0], source[1])
        found = Conv2d(node.name, channels, kernel, groups=channels)
    elif isinstance(layer, AveragePool):
        if layer.ceil or not (layer.count_padding or all(pool.inside for pool in layer.axes(source))):
            return None
        found = Conv2d(node.name, channels, pair(layer.kernel), layer.stride, layer.padding, groups=channels)
    else:
        return None
    # sums of so many 16-bit numbers have to fit 32 bits
    return found if prod(found.kernel) <= 1 << 15 else None
