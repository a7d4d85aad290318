"""A model: a directed acyclic graph of named layers, shapes checked when it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from nnlib.layers import Conv2d, Layer, Linear, ShapeError
from nnlib.layers.layer import Array, Saved, Shape
from nnlib.ops.loss import softmax_cross_entropy

INPUT = "input"
"""Name of the graph's input among the nodes' inputs."""

HOST_BATCH_ELEMENTS = 13 << 15
"""Activations of the samples that the host computes at a time.

More and they leave its cache between two layers, or matrices get so large that BLAS divides them among threads, which
on a busy host wait for one another.
"""
LEAST_HOST_BATCH = 32
"""Fewer samples at a time make matrix products inefficient."""

Parameters = Mapping[str, Array]


@dataclass(frozen=True)
class Node:
    """A layer and the names of the nodes (or ``input``) that it takes."""

    layer: Layer
    inputs: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.layer.name


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each comes after its inputs; the last one is the output.

    ``input_shape`` is per sample. Raises ShapeError if a layer cannot take its inputs, or a name is unknown or
    used twice.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ShapeError("a graph needs at least one layer")
        known = {INPUT}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ShapeError(f"layer {node.name!r} takes {missing[0]!r}, which no earlier layer makes")
            if node.name in known:
                raise ShapeError(f"two layers are named {node.name!r}")
            known.add(node.name)
        _ = self.shapes

    @classmethod
    def chain(cls, input_shape: Shape, layers: Sequence[Layer]) -> Graph:
        """Layers one behind the other."""
        names = [INPUT, *(layer.name for layer in layers)]
        return cls(input_shape, tuple(Node(layer, (source,)) for layer, source in zip(layers, names, strict=False)))

    @property
    def output(self) -> str:
        """Name of the last node."""
        return self.nodes[-1].name

    @property
    def output_shape(self) -> Shape:
        return self.shapes[self.output]

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape per sample of the input and of each node's output."""
        shapes = {INPUT: self.input_shape}
        for node in self.nodes:
            shapes[node.name] = node.layer.output_shape(tuple(shapes[name] for name in node.inputs))
        return shapes

    def shape(self, name: str) -> Shape:
        """Shape per sample of a node's output, or of ``input``."""
        return self.shapes[name]

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of a node's inputs."""
        return tuple(self.shapes[name] for name in node.inputs)

    @cached_property
    def parameters(self) -> Mapping[str, Shape]:
        """Shapes of all parameters by ``LAYER.PARAMETER``."""
        return {
            f"{node.name}.{name}": shape
            for node in self.nodes
            for name, shape in node.layer.parameter_shapes(self.input_shapes(node)).items()
        }

    @cached_property
    def learned(self) -> frozenset[str]:
        """The nodes whose output depends on a parameter: those whose gradient somebody needs."""
        found: set[str] = set()
        for node in self.nodes:
            if self.parameter_shapes(node.name) or found.intersection(node.inputs):
                found.add(node.name)
        return frozenset(found)

    def parameter_shapes(self, layer: str) -> dict[str, Shape]:
        """The parameters of one layer, by their names in the graph."""
        return {name: shape for name, shape in self.parameters.items() if name.rpartition(".")[0] == layer}

    @property
    def parameter_count(self) -> int:
        return sum(prod(shape) for shape in self.parameters.values())

    @cached_property
    def multiply_accumulates(self) -> Mapping[str, int]:
        """Multiply-accumulates per sample of each layer that has any."""
        found = {}
        for node in self.nodes:
            if isinstance(node.layer, Conv2d | Linear):
                weight = self.parameters[f"{node.name}.weight"]
                found[node.name] = prod(weight) * prod(self.shapes[node.name][:-1])
        return found

    def initialise(self, rng: np.random.Generator, dtype: np.dtype[np.floating]) -> dict[str, Array]:
        """Fresh parameters, drawn from ``rng`` in the order of the nodes."""
        return {
            f"{node.name}.{name}": array
            for node in self.nodes
            for name, array in node.layer.initialise(self.input_shapes(node), rng, dtype).items()
        }

    def forward(self, parameters: Parameters, x: Array) -> tuple[Array, dict[str, Saved]]:
        """The output for a batch, and what backward needs."""
        values, saved = {INPUT: x}, {}
        for node in self.nodes:
            inputs = tuple(values[name] for name in node.inputs)
            values[node.name], saved[node.name] = node.layer.forward(_own(parameters, node.name), inputs)
        return values[self.output], saved

    def predict(self, parameters: Parameters, x: Array) -> Array:
        """The output for a batch."""
        parts = self.host_batches(len(x))
        return np.concatenate([self.forward(parameters, x[part])[0] for part in parts])

    def backward(self, parameters: Parameters, saved: Mapping[str, Saved], grad: Array) -> dict[str, Array]:
        """Gradients of all parameters from the gradient of the output; fan-out adds up."""
        pending = {self.output: grad}
        found: dict[str, Array] = {}
        for node in reversed(self.nodes):
            grad_output = pending.pop(node.name, None)
            if grad_output is None:  # the output does not depend on this layer
                found.update({name: np.zeros_like(parameters[name]) for name in self.parameter_shapes(node.name)})
                continue
            inputs, own = node.layer.backward(
                _own(parameters, node.name),
                saved[node.name],
                grad_output,
                need_input_gradient=any(name in self.learned for name in node.inputs),
            )
            found.update({f"{node.name}.{name}": value for name, value in own.items()})
            for name, value in zip(node.inputs, inputs, strict=True):
                if value is not None and name in self.learned:
                    pending[name] = pending[name] + value if name in pending else value
        return {name: found[name] for name in self.parameters}

    def loss_and_gradients(
        self, parameters: Parameters, images: Array, labels: NDArray[np.integer], weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Mean softmax cross-entropy over the samples' ``weights`` and its gradients."""
        counts = np.ones(len(images), dtype=images.dtype) if weights is None else weights
        total = float(counts.sum(dtype=np.float64))
        loss, found = 0.0, None
        for part in self.host_batches(len(images)):
            logits, saved = self.forward(parameters, images[part])
            part_loss, grad = softmax_cross_entropy(logits, labels[part], counts[part], total=total)
            grads = self.backward(parameters, saved, grad)
            loss += part_loss
            if found is None:
                found = grads
            else:
                for name, value in grads.items():
                    found[name] += value
        if found is None:
            raise ValueError("no samples: the gradients of an empty batch are not defined")
        return loss, found

    def host_batches(self, samples: int) -> list[slice]:
        """Samples in order, as many at a time as keep all activations of a batch in the host's cache."""
        size = max(LEAST_HOST_BATCH, HOST_BATCH_ELEMENTS // sum(map(prod, self.shapes.values())))
        return [slice(first, first + size) for first in range(0, samples, size)]


def _own(parameters: Parameters, layer: str) -> dict[str, Array]:
    """A layer's own parameters by their short names."""
    prefix = f"{layer}."
    return {name[len(prefix) :]: array for name, array in parameters.items() if name.startswith(prefix)}
