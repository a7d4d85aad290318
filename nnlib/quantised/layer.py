"""Layers whose numbers are rounded where they go to memory: to fixed point, or from fp64 to fp32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from nnlib.graph import Graph, Node
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape
from nnlib.layers.linear import Linear
from nnlib.layers.randomness import rounding_key
from nnlib.quantised.scheme import FixedScheme


class Boundary(Protocol):
    """What happens to numbers between a layer and memory."""

    def taken(self, x: Array) -> Array:
        """What a layer computes with, of what lies in memory."""

    def step(self, x: Array) -> float:
        """The step of the integers that ``x`` consists of; 0 where numbers are no integers."""

    def weight_step(self) -> float:
        """The same for weights."""

    def kept(self, x: Array, *, unit: float, key: int, nearest: bool) -> Array:
        """What goes to memory of a result; ``unit``: the product of its factors' steps, 0 if it is no sum of products.

        ``key``: of random numbers.
        """

    def passed(self, x: Array, *, unit: float) -> Array:
        """A gradient by an input on its way to the layer that rounds it, once all that meet are added."""


@dataclass(frozen=True)
class FixedBoundary:
    """Numbers are rounded to fixed point; layers compute with them exactly."""

    scheme: FixedScheme

    def taken(self, x: Array) -> Array:
        return x

    def step(self, x: Array) -> float:
        return self.scheme.step_of(x)

    def weight_step(self) -> float:
        return self.scheme.weights.step

    def kept(self, x: Array, *, unit: float, key: int, nearest: bool) -> Array:
        return self.scheme.round_tensor(self.passed(x, unit=unit), key=key, nearest=nearest)

    def passed(self, x: Array, *, unit: float) -> Array:
        return self.scheme.check_sums(x, unit) if unit else x


@dataclass(frozen=True)
class StorageBoundary:
    """Numbers are stored in ``storage`` and computed with in fp64, as the SW26010 does with fp32."""

    storage: np.dtype[np.floating]

    def taken(self, x: Array) -> Array:
        return x.astype(np.float64) if x.dtype == self.storage else x

    def step(self, x: Array) -> float:
        return 0.0

    def weight_step(self) -> float:
        return 0.0

    def kept(self, x: Array, *, unit: float, key: int, nearest: bool) -> Array:
        return x.astype(self.storage, copy=False)

    def passed(self, x: Array, *, unit: float) -> Array:
        return x.astype(self.storage, copy=False)


@dataclass(frozen=True)
class _Kept:
    """What backward needs: the layer's own, the step of its input, and which pass it was."""

    inner: Saved
    steps: tuple[float, ...]
    run: Run


@dataclass(frozen=True)
class BoundaryLayer(Layer):
    """``inner`` with its outputs and gradients rounded by ``boundary``. Parameters are rounded where they change."""

    inner: Layer
    boundary: Boundary
    products: bool
    """Outputs are sums of products of the only input with the parameter ``weight``, of 32 bits where these are
    integers."""

    @property
    def mixes_samples(self) -> bool:
        return self.inner.mixes_samples or isinstance(self.boundary, FixedBoundary)  # they share a step

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return self.inner.output_shape(input_shapes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return self.inner.parameter_shapes(input_shapes)

    def statistic_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return self.inner.statistic_shapes(input_shapes)

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        return self.inner.initialise(input_shapes, rng, dtype)

    def multiply_accumulates(self, input_shapes: tuple[Shape, ...]) -> int:
        return self.inner.multiply_accumulates(input_shapes)

    def statistics(self, params: Params, saved: Saved) -> dict[str, Array]:
        kept: _Kept = saved
        found = self.inner.statistics(self._taken(params), kept.inner)
        return {name: array.astype(params[name].dtype, copy=False) for name, array in found.items()}

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        boundary = self.boundary
        y, saved = self.inner.forward(self._taken(params), tuple(map(boundary.taken, inputs)), run)
        steps: tuple[float, ...] = (boundary.step(inputs[0]),) if self.products else ()
        kept = _Kept(saved, steps, run)
        unit = steps[0] * boundary.weight_step() if self.products else 0.0
        return boundary.kept(y, unit=unit, key=self._key(run, "y"), nearest=not run.training), kept

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        kept: _Kept = saved
        boundary = self.boundary

        def rounded(grad: Array, name: str, unit: float = 0.0) -> Array:
            return boundary.kept(grad, unit=unit, key=self._key(kept.run, name), nearest=False)

        # a loss's gradient, or a sum of several, was not in memory yet; what was stays as it is
        grad_y = boundary.taken(rounded(grad_output, "grad_y"))
        by_input, own = self.inner.backward(self._taken(params), kept.inner, grad_y, needs)
        step = boundary.step(grad_y) if self.products else 0.0
        weight_unit = step * kept.steps[0] if self.products else 0.0
        grads = {name: rounded(grad, name, weight_unit if name == "weight" else 0.0) for name, grad in own.items()}
        input_unit = step * boundary.weight_step()
        return tuple(None if grad is None else boundary.passed(grad, unit=input_unit) for grad in by_input), grads

    def _key(self, run: Run, what: str) -> int:
        return rounding_key(run.key, self.name, what, run.first_sample)

    def _taken(self, params: Params) -> dict[str, Array]:
        return {name: self.boundary.taken(array) for name, array in params.items()}


def bounded(graph: Graph, boundary: Boundary) -> Graph:
    """The graph with every layer's results rounded by ``boundary``. Nodes, parameters and shapes are the same."""

    def layer(node: Node) -> Layer:
        products = len(node.inputs) == 1 and isinstance(node.layer, Conv1d | Conv2d | Linear)
        return BoundaryLayer(node.name, node.layer, boundary, products)

    return replace(graph, nodes=tuple(replace(node, layer=layer(node)) for node in graph.nodes))
