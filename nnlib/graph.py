"""A network: a directed acyclic graph of named layers, shapes checked when it is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from nnlib.layers.layer import INFERENCE, Array, Layer, Run, Saved, Shape, ShapeError

INPUT = "input"
"""Name of the input of graphs that have one."""

HOST_BATCH_ELEMENTS = 13 << 15
"""Activations of the samples that the host computes at a time.

More and they leave its cache between two layers, or matrices get so large that BLAS divides them among threads, which
on a busy host wait for one another.
"""
LEAST_HOST_BATCH = 32
"""Fewer samples at a time make matrix products inefficient."""

Variables = Mapping[str, Array]
"""Parameters and statistics by ``LAYER.NAME``."""


@dataclass(frozen=True)
class Input:
    """What comes into a graph: ``shape`` per sample; ``integer`` numbers are indices and have no gradient."""

    name: str
    shape: Shape
    integer: bool = False


@dataclass(frozen=True)
class Node:
    """A layer and the names of the nodes or inputs that it takes.

    ``shared``: pairs of a parameter of the layer and the graph's parameter ``LAYER.NAME`` that it is, the same numbers.
    ``frozen``: parameters of the layer that training leaves as they are; the graph counts them as statistics.
    """

    layer: Layer
    inputs: tuple[str, ...]
    shared: tuple[tuple[str, str], ...] = ()
    frozen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.layer.name


@dataclass(frozen=True)
class Forward:
    """What a forward pass gave: wanted outputs by node, and what backward needs of every node."""

    outputs: dict[str, Array]
    saved: dict[str, Saved] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each comes after its inputs. ``outputs``: what inference gives, by default the last.

    Raises ShapeError if a layer cannot take its inputs, or a name is unknown or used twice.
    """

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ShapeError("a graph needs at least one layer")
        if not self.outputs:
            object.__setattr__(self, "outputs", (self.nodes[-1].name,))
        known: set[str] = set()
        for each in self.inputs:
            if each.name in known:
                raise ShapeError(f"two inputs are named {each.name!r}")
            known.add(each.name)
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ShapeError(f"layer {node.name!r} takes {missing[0]!r}, which no earlier layer makes")
            if node.name in known:
                raise ShapeError(f"two layers are named {node.name!r}")
            known.add(node.name)
        unknown = [name for name in self.outputs if name not in known]
        if unknown:
            raise ShapeError(f"the output {unknown[0]!r} is made by no layer")
        _ = self.shapes
        self._check_shared()

    @classmethod
    def chain(cls, input_shape: Shape, layers: Sequence[Layer]) -> Graph:
        """Layers one behind the other, over one input of ``input_shape`` per sample."""
        names = [INPUT, *(layer.name for layer in layers)]
        nodes = tuple(Node(layer, (source,)) for layer, source in zip(layers, names, strict=False))
        return cls((Input(INPUT, input_shape),), nodes)

    @property
    def output(self) -> str:
        """Name of the first output."""
        return self.outputs[0]

    @property
    def output_shape(self) -> Shape:
        return self.shapes[self.output]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape per sample of each input and of each node's output."""
        shapes = {each.name: each.shape for each in self.inputs}
        for node in self.nodes:
            shapes[node.name] = node.layer.output_shape(tuple(shapes[name] for name in node.inputs))
        return shapes

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of a node's inputs."""
        return tuple(self.shapes[name] for name in node.inputs)

    @cached_property
    def parameters(self) -> Mapping[str, Shape]:
        """Shapes of all learned parameters by ``LAYER.PARAMETER``; shared ones count once."""
        return {full: shape for node in self.nodes for full, shape in self._own_parameters(node).items()}

    @cached_property
    def statistics(self) -> Mapping[str, Shape]:
        """Shapes of the arrays that are not learned, by ``LAYER.NAME``: what follows the samples, or is frozen."""
        found: dict[str, Shape] = {}
        for node in self.nodes:
            shapes = self.input_shapes(node)
            frozen = node.layer.parameter_shapes(shapes) if node.frozen else {}
            own = node.layer.statistic_shapes(shapes) | {name: frozen[name] for name in node.frozen}
            found |= {f"{node.name}.{name}": shape for name, shape in own.items()}
        return found

    @property
    def variables(self) -> Mapping[str, Shape]:
        """Parameters and statistics: all arrays that a trained network consists of."""
        return {**self.parameters, **self.statistics}

    @cached_property
    def variable_names(self) -> Mapping[str, Mapping[str, str]]:
        """For each node its own names of its parameters and statistics, and the graph's."""
        found = {}
        for node in self.nodes:
            shapes = self.input_shapes(node)
            own = [*node.layer.parameter_shapes(shapes), *node.layer.statistic_shapes(shapes)]
            found[node.name] = {name: f"{node.name}.{name}" for name in own} | dict(node.shared)
        return found

    def own(self, variables: Variables, node: str) -> dict[str, Array]:
        """A node's own parameters and statistics among all."""
        return {name: variables[full] for name, full in self.variable_names[node].items()}

    def parameter_shapes(self, node: str) -> dict[str, Shape]:
        """The parameters that a node brings into the graph, by their names there."""
        return self._own_parameters(self.by_name[node])

    @cached_property
    def learned(self) -> frozenset[str]:
        """The nodes whose output depends on a parameter: those whose gradient somebody needs."""
        found: set[str] = set()
        for node in self.nodes:
            if self._own_parameters(node) or node.shared or found.intersection(node.inputs):
                found.add(node.name)
        return frozenset(found)

    @cached_property
    def mixes_samples(self) -> bool:
        """True if in training a sample's output depends on the other samples of its batch."""
        return any(node.layer.mixes_samples for node in self.nodes)

    @property
    def parameter_count(self) -> int:
        return sum(prod(shape) for shape in self.parameters.values())

    @cached_property
    def multiply_accumulates(self) -> Mapping[str, int]:
        """Multiply-accumulates per sample of each layer that has any."""
        counted = {node.name: node.layer.multiply_accumulates(self.input_shapes(node)) for node in self.nodes}
        return {name: count for name, count in counted.items() if count}

    def pruned(self, wanted: Collection[str]) -> Graph:
        """The part of the graph that the nodes ``wanted`` depend on; all inputs stay. They are its outputs."""
        needed = set(wanted)
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
                needed.update(full.rpartition(".")[0] for _, full in node.shared)
        nodes = tuple(node for node in self.nodes if node.name in needed)
        return Graph(self.inputs, nodes, tuple(wanted))

    @cached_property
    def inference(self) -> Graph:
        """The part that the outputs depend on."""
        return self.pruned(self.outputs)

    def initialise(self, rng: np.random.Generator, dtype: np.dtype[np.floating]) -> dict[str, Array]:
        """Fresh parameters and statistics, drawn from ``rng`` in the order of the nodes."""
        drawn = {
            f"{node.name}.{name}": array
            for node in self.nodes
            for name, array in node.layer.initialise(self.input_shapes(node), rng, dtype).items()
        }
        return {name: drawn[name] for name in self.variables}

    def forward(
        self, variables: Variables, inputs: Mapping[str, Array], *, run: Run, wanted: Collection[str] | None = None
    ) -> Forward:
        """The outputs (or the nodes ``wanted``) for a batch; in training also what backward needs.

        What no later node takes is forgotten on the way.
        """
        targets = self.outputs if wanted is None else wanted
        values = {each.name: inputs[each.name] for each in self.inputs}
        done = Forward(outputs={name: values[name] for name in targets if name in values})
        self.forward_nodes(self.nodes, variables, values, done, run=run, wanted=targets)
        return done

    def forward_nodes(
        self,
        nodes: Sequence[Node],
        variables: Variables,
        values: dict[str, Array],
        done: Forward,
        *,
        run: Run,
        wanted: Collection[str],
        save: bool = True,
    ) -> None:
        """Compute ``nodes`` from ``values``, out of which goes what no later node takes.

        The outputs ``wanted``, the statistics and, with ``save``, what backward needs come into ``done``.
        """
        last = self._last_uses
        for node in nodes:
            own = self.own(variables, node.name)
            taken = tuple(values[name] for name in node.inputs)
            value, saved = node.layer.forward(own, taken, run)
            if run.training:
                for name, array in node.layer.statistics(own, saved).items():
                    done.statistics[f"{node.name}.{name}"] = array
                if save:
                    done.saved[node.name] = saved
            if node.name in wanted:
                done.outputs[node.name] = value
            if node.name in last:
                values[node.name] = value
            del taken, value, saved
            for name in set(node.inputs):
                if last[name] == node.name:
                    del values[name]

    def predict(self, variables: Variables, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for a batch, some samples at a time."""
        graph = self.inference
        count = len(next(iter(inputs.values())))
        parts = [
            graph.forward(variables, {name: array[part] for name, array in inputs.items()}, run=INFERENCE).outputs
            for part in self.host_batches(count)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def backward(self, variables: Variables, saved: dict[str, Saved], grads: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients of the parameters that nodes with gradients ``grads`` depend on; where paths fan out they add up.

        What a node saved is forgotten once it has been used.
        """
        found: dict[str, Array] = {}
        self.backward_nodes(self.nodes, variables, saved, dict(grads), found)
        return found

    def backward_nodes(
        self,
        nodes: Sequence[Node],
        variables: Variables,
        saved: dict[str, Saved],
        pending: dict[str, Array],
        found: dict[str, Array],
    ) -> None:
        """From gradients ``pending`` of the outputs of ``nodes`` to those of their inputs; ``found``: parameters'."""
        for node in reversed(nodes):
            grad_output = pending.pop(node.name, None)
            kept = saved.pop(node.name)
            if grad_output is None or node.name not in self.learned:
                continue
            needs = tuple(name in self.learned for name in node.inputs)
            by_input, own = node.layer.backward(self.own(variables, node.name), kept, grad_output, needs)
            del kept, grad_output
            names = self.variable_names[node.name]
            for name, value in own.items():
                if name not in node.frozen:
                    add_to(found, names[name], value)
            for name, by in zip(node.inputs, by_input, strict=True):
                if by is not None and name in self.learned:
                    add_to(pending, name, by)
            del by_input, own

    def host_batches(self, samples: int) -> list[slice]:
        """Samples in order, as many at a time as keep all activations of a batch in the host's cache."""
        size = max(LEAST_HOST_BATCH, HOST_BATCH_ELEMENTS // sum(map(prod, self.shapes.values())))
        return [slice(first, first + size) for first in range(0, samples, size)]

    @cached_property
    def _last_uses(self) -> Mapping[str, str]:
        """For each input and node that a node takes, the last one that does."""
        return {name: node.name for node in self.nodes for name in node.inputs}

    def _own_parameters(self, node: Node) -> dict[str, Shape]:
        elsewhere = {*dict(node.shared), *node.frozen}
        shapes = node.layer.parameter_shapes(self.input_shapes(node))
        return {f"{node.name}.{name}": shape for name, shape in shapes.items() if name not in elsewhere}

    def _check_shared(self) -> None:
        known: dict[str, Shape] = {}
        for node in self.nodes:
            shapes = node.layer.parameter_shapes(self.input_shapes(node))
            for name, full in node.shared:
                if name not in shapes:
                    raise ShapeError(f"layer {node.name!r} has no parameter {name!r} to share")
                if full not in known:
                    raise ShapeError(f"layer {node.name!r} shares {full!r}, which no earlier layer has")
                if known[full] != shapes[name]:
                    raise ShapeError(
                        f"layer {node.name!r} wants a parameter {name} of shape {shapes[name]}, "
                        f"{full!r} has {known[full]}"
                    )
            known |= self._own_parameters(node)


def add_to(sums: dict[str, Array], name: str, value: Array) -> None:
    """Add to what stands under a name; never in place, as a gradient may be another's too."""
    sums[name] = sums[name] + value if name in sums else value
