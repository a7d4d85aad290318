"""A model: a network and the loss that it learns by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nnlib.batch import Batch
from nnlib.graph import Forward, Graph, Variables, add_to
from nnlib.layers.layer import Array, Run, Shape, ShapeError
from nnlib.losses.loss import Loss
from nnlib.segments import kept_between, segments


@dataclass(frozen=True)
class Gradients:
    """The loss of a batch, its gradients by parameter, and the statistics after it."""

    loss: float
    parameters: dict[str, Array]
    statistics: dict[str, Array]


@dataclass(frozen=True)
class Model:
    """``losses`` over nodes and inputs of ``graph``; their sum is what training makes small.

    ``weights``: values of all variables to begin with, where there are any; otherwise fresh ones are drawn.
    Raises ShapeError if a loss names an unknown node or cannot take its output.
    """

    graph: Graph
    losses: tuple[Loss, ...] = ()
    weights: Mapping[str, Array] | None = field(default=None, compare=False, repr=False)

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

    def initialise(self, rng: np.random.Generator, dtype: np.dtype[np.floating]) -> dict[str, Array]:
        """Parameters and statistics to begin with: the model's own, or drawn from ``rng``."""
        if self.weights is None:
            return self.graph.initialise(rng, dtype)
        return {name: array.astype(dtype) for name, array in self.weights.items()}

    def gradients(
        self,
        variables: Variables,
        batch: Batch,
        weights: Array,
        *,
        run: Run,
        together: int | None = None,
        recompute: bool = False,
    ) -> Gradients:
        """The losses' mean over the samples' ``weights`` (B,) and its gradients.

        Where samples mix, ``together`` of them are one batch of the network, by default all. ``recompute``: keep only
        what goes from one segment of the network to the next, and compute the rest again when backward needs it.
        Raises ValueError for an empty batch.
        """
        count = len(batch)
        if not count:
            raise ValueError("no samples: the gradients of an empty batch are not defined")
        total = float(weights.sum(dtype=np.float64))
        found = _Sums()
        for part in self._parts(count, together):
            some = Run(training=run.training, key=run.key, first_sample=run.first_sample + part.start)
            shares = weights[part] / total
            found.add(self._part(variables, batch.take(part), shares, some, recompute), part_of_all=float(shares.sum()))
        graph = self.graph
        zeros = {name: np.zeros_like(variables[name]) for name in graph.parameters if name not in found.parameters}
        found.parameters |= zeros
        return Gradients(found.loss, {name: found.parameters[name] for name in graph.parameters}, found.statistics)

    def _parts(self, count: int, together: int | None) -> list[slice]:
        if not self.graph.mixes_samples:
            return self.graph.host_batches(count)
        size = together or count
        return [slice(first, first + size) for first in range(0, count, size)]

    def _part(self, variables: Variables, batch: Batch, shares: Array, run: Run, recompute: bool) -> Gradients:
        graph = self.training
        if recompute:
            return self._recomputed(variables, batch, shares, run)
        forward = graph.forward(variables, batch.inputs, run=run)
        loss, grads = self.losses_of(forward.outputs, batch, shares)
        forward.outputs.clear()
        return Gradients(loss, graph.backward(variables, forward.saved, grads), forward.statistics)

    def _recomputed(self, variables: Variables, batch: Batch, shares: Array, run: Run) -> Gradients:
        """Forward without saving, then each segment from the last on: forward once more, and backward."""
        graph = self.training
        parts = segments(graph)
        kept = kept_between(graph, parts)
        inputs = {each.name: batch.inputs[each.name] for each in graph.inputs}
        done = Forward(outputs={name: inputs[name] for name in self.wanted if name in inputs})
        wanted = kept.union(self.wanted)
        graph.forward_nodes(graph.nodes, variables, dict(inputs), done, run=run, wanted=wanted, save=False)
        loss, pending = self.losses_of(done.outputs, batch, shares)
        found: dict[str, Array] = {}
        for part in reversed(parts):
            own = {node.name for node in part}
            taken = {name for node in part for name in node.inputs if name not in own}
            values = {name: inputs[name] if name in inputs else done.outputs[name] for name in taken}
            again = Forward(outputs={})
            for name in own.intersection(done.outputs):
                del done.outputs[name]
            graph.forward_nodes(part, variables, values, again, run=run, wanted=())
            values.clear()
            graph.backward_nodes(part, variables, again.saved, pending, found)
        return Gradients(loss, found, done.statistics)

    def losses_of(self, outputs: Mapping[str, Array], batch: Batch, shares: Array) -> tuple[float, dict[str, Array]]:
        """The sum of all losses, and its gradients by the nodes that they take."""
        loss = 0.0
        grads: dict[str, Array] = {}
        for term in self.losses:
            taken = tuple(outputs[name] for name in term.outputs)
            target = None if term.target is None else batch.targets[term.target]
            value, by_output = term.forward(taken, target, shares * shares.dtype.type(term.weight))
            loss += value
            for name, grad in zip(term.outputs, by_output, strict=True):
                if grad is not None:
                    add_to(grads, name, grad)
        return loss, grads


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
