"""A model: a network and the loss that it learns by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnlib.batch import Batch
from nnlib.graph import Graph, Variables
from nnlib.layers.layer import Array, Run, Shape, ShapeError
from nnlib.losses import Loss


@dataclass(frozen=True)
class Gradients:
    """The loss of a batch, its gradients by parameter, and the statistics after it."""

    loss: float
    parameters: dict[str, Array]
    statistics: dict[str, Array]


@dataclass(frozen=True)
class Model:
    """``losses`` over nodes and inputs of ``graph``; their sum is what training makes small.

    Raises ShapeError if a loss names an unknown node or cannot take its output.
    """

    graph: Graph
    losses: tuple[Loss, ...] = ()

    def __post_init__(self) -> None:
        for loss in self.losses:
            for name in loss.outputs:
                if name not in self.graph.shapes:
                    raise ShapeError(f"the loss {type(loss).__name__} takes {name!r}, which no layer makes")
        _ = self.targets

    @cached_property
    def targets(self) -> Mapping[str, Shape]:
        """Shape per sample of each target. Raises ShapeError if two losses see one target differently."""
        found: dict[str, Shape] = {}
        for loss in self.losses:
            shape = loss.target_shape(tuple(self.graph.shapes[name] for name in loss.outputs))
            if loss.target is None or shape is None:
                continue
            known = found.setdefault(loss.target, shape)
            if known != shape:
                raise ShapeError(f"target {loss.target!r} has shape {known} for one loss, {shape} for another")
        return found

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The nodes that the losses take."""
        return tuple(dict.fromkeys(name for loss in self.losses for name in loss.outputs))

    @cached_property
    def training(self) -> Graph:
        """The part of the network that the losses depend on."""
        return self.graph.pruned(self.wanted)

    def gradients(
        self,
        variables: Variables,
        batch: Batch,
        weights: Array,
        *,
        run: Run,
        together: int | None = None,
    ) -> Gradients:
        """The losses' mean over the samples' ``weights`` (B,) and its gradients.

        Where samples mix, ``together`` of them are one batch of the network, by default all. Raises ValueError for an
        empty batch.
        """
        count = len(batch)
        if not count:
            raise ValueError("no samples: the gradients of an empty batch are not defined")
        total = float(weights.sum(dtype=np.float64))
        found = _Sums()
        for part in self._parts(count, together):
            some = Run(training=run.training, key=run.key, first_sample=run.first_sample + part.start)
            shares = weights[part] / total
            found.add(self._part(variables, batch.take(part), shares, some), part_of_all=float(shares.sum()))
        graph = self.graph
        zeros = {name: np.zeros_like(variables[name]) for name in graph.parameters if name not in found.parameters}
        found.parameters |= zeros
        return Gradients(found.loss, {name: found.parameters[name] for name in graph.parameters}, found.statistics)

    def _parts(self, count: int, together: int | None) -> list[slice]:
        if not self.graph.mixes_samples:
            return self.graph.host_batches(count)
        size = together or count
        return [slice(first, first + size) for first in range(0, count, size)]

    def _part(self, variables: Variables, batch: Batch, shares: Array, run: Run) -> Gradients:
        graph = self.training
        forward = graph.forward(variables, batch.inputs, run=run)
        loss = 0.0
        grads: dict[str, Array] = {}
        for term in self.losses:
            outputs = tuple(forward.outputs[name] for name in term.outputs)
            target = None if term.target is None else batch.targets[term.target]
            value, by_output = term.forward(outputs, target, shares * shares.dtype.type(term.weight))
            loss += value
            for name, grad in zip(term.outputs, by_output, strict=True):
                if grad is not None:
                    grads[name] = grads[name] + grad if name in grads else grad
        forward.outputs.clear()
        return Gradients(loss, graph.backward(variables, forward.saved, grads), forward.statistics)


class _Sums:
    """Sums over the parts of a batch; statistics are means over its samples."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.parameters: dict[str, Array] = {}
        self.statistics: dict[str, Array] = {}

    def add(self, part: Gradients, *, part_of_all: float) -> None:
        self.loss += part.loss
        first = not self.parameters
        for name, grad in part.parameters.items():
            if first:
                self.parameters[name] = grad
            else:
                self.parameters[name] += grad
        for name, array in part.statistics.items():
            share = array.dtype.type(part_of_all)
            self.statistics[name] = self.statistics[name] + share * array if name in self.statistics else share * array
