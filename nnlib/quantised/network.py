"""Inference in integers: a trained network calibrated on a sample of data, computed on the host.

Weights have a step for each output channel, activations one for each tensor, zero is zero (symmetric). Batch
normalisation is part of the weights. A layer without an integer form gets real numbers and gives real numbers, which
become integers where an integer layer takes them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.batch import Arrays
from nnlib.graph import Graph, Node, Variables
from nnlib.layers.layer import INFERENCE, Array
from nnlib.precision.calibration import Calibration, Observer
from nnlib.precision.fixed import Integers, dequantise, quantise
from nnlib.precision.formats import IntegerName
from nnlib.quantised.folding import fold_batch_norms
from nnlib.quantised.forms import integer_forms
from nnlib.quantised.operations import Operation, Weighted
from nnlib.quantised.scheme import Tally


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A calibrated network without batch normalisation: ``operations`` of its nodes that compute in integers.

    ``steps``: of all inputs that are no indices, and of all nodes. ``calibrated``: the variables that it was made of.
    """

    graph: Graph
    variables: Variables
    storage: IntegerName
    steps: Mapping[str, float]
    operations: Mapping[str, Operation]
    calibrated: Variables
    tally: Tally = field(default_factory=Tally)

    @property
    def products(self) -> dict[str, Weighted]:
        """The convolutions, linear layers and means among the operations."""
        return {name: each for name, each in self.operations.items() if isinstance(each, Weighted)}

    @property
    def real_layers(self) -> tuple[str, ...]:
        """The layers that compute with real numbers, as they have no integer form."""
        return tuple(node.name for node in self.graph.nodes if node.name not in self.operations)

    def outputs(self, inputs: Arrays) -> dict[str, Array]:
        """The graph's outputs as real numbers, some samples at a time."""
        count = len(next(iter(inputs.values())))
        parts = []
        for part in self.graph.host_batches(count):
            values = _Values(self, {name: array[part] for name, array in inputs.items()})
            for node in self.graph.nodes:
                values.compute(node)
            parts.append({name: values.real(name) for name in self.graph.outputs})
        return {name: np.concatenate([part[name] for part in parts]) for name in self.graph.outputs}


class _Values:
    """The values of a batch so far, as integers, as real numbers, or as both."""

    def __init__(self, network: IntegerNetwork, inputs: Arrays) -> None:
        self.network = network
        self.reals: dict[str, Array] = {each.name: inputs[each.name] for each in network.graph.inputs}
        self.integers: dict[str, Integers] = {}

    def compute(self, node: Node) -> None:
        """The value of a node."""
        network, operation = self.network, self.network.operations.get(node.name)
        if operation is not None:
            taken = [self.narrow(name) for name in node.inputs]
            self.integers[node.name] = operation.run(taken, network.storage, network.tally)
            return
        own = network.graph.own(network.variables, node.name)
        inputs = tuple(self.real(name) for name in node.inputs)
        self.reals[node.name] = node.layer.forward(own, inputs, INFERENCE)[0]

    def narrow(self, name: str) -> Integers:
        """A value as integers."""
        if name not in self.integers:
            network = self.network
            self.integers[name], outside = quantise(self.reals[name], network.steps[name], network.storage)
            network.tally.rounded += self.integers[name].size
            network.tally.saturated += outside
        return self.integers[name]

    def real(self, name: str) -> NDArray[Any]:
        """A value as real numbers, of integers in fp64."""
        if name not in self.reals:
            self.reals[name] = dequantise(self.integers[name], self.network.steps[name], np.float64)
        return self.reals[name]


def quantise_network(
    graph: Graph,
    variables: Variables,
    sample: Arrays,
    *,
    storage: IntegerName = "int8",
    calibration: Calibration | None = None,
    per_channel: bool = True,
) -> IntegerNetwork:
    """Calibrate the inference part of ``graph`` on the inputs ``sample``.

    ``calibration``: of activations, by default their largest magnitudes; weights take the largest always.
    ``per_channel``: weights have a step for each output channel, otherwise one.
    """
    folded, own = fold_batch_norms(graph.inference, variables)
    steps = observe(folded, own, sample).steps(calibration or Calibration(), storage)
    return _network(folded, own, steps, variables, storage, per_channel=per_channel)


def integer_shape(graph: Graph, storage: IntegerName) -> IntegerNetwork:
    """A network with the layers of ``graph`` and arbitrary numbers: what its kernels take does not depend on them."""
    variables = graph.initialise(np.random.default_rng(0), np.dtype(np.float64))
    folded, own = fold_batch_norms(graph.inference, variables)
    names = [*(each.name for each in folded.inputs), *(node.name for node in folded.nodes)]
    return _network(folded, own, dict.fromkeys(names, 1.0), variables, storage, per_channel=True)


def observe(graph: Graph, variables: Variables, sample: Arrays) -> Observer:
    """The magnitudes of all inputs that are no indices, and of all nodes."""
    observer = Observer()
    names: Collection[str] = [node.name for node in graph.nodes]
    count = len(next(iter(sample.values())))
    for part in graph.host_batches(count):
        some = {name: array[part] for name, array in sample.items()}
        for each in graph.inputs:
            if not each.integer:
                observer.see(each.name, some[each.name])
        for name, value in graph.forward(variables, some, run=INFERENCE, wanted=names).outputs.items():
            observer.see(name, value)
    return observer


def _network(
    graph: Graph,
    variables: Variables,
    observed: Mapping[str, float],
    calibrated: Variables,
    storage: IntegerName,
    *,
    per_channel: bool,
) -> IntegerNetwork:
    steps, operations = integer_forms(graph, variables, observed, storage, per_channel=per_channel)
    return IntegerNetwork(graph, variables, storage, steps, operations, calibrated)
