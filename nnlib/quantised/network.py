"""Inference in integers: a trained network calibrated on a sample of data, then convolutions and products of integers.

Weights have a step for each output channel, activations one for each tensor, zero is zero (symmetric). Convolutions
and linear layers multiply integers, sum in 32 bits and make narrow integers of the sums at once, with a ReLU behind
them in the same go. Max pooling, ReLU and changes of shape work on integers as they are. Any other layer gets real
numbers and its result is made integers again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nnlib.batch import Arrays
from nnlib.graph import Graph, Node, Variables
from nnlib.layers import Conv2d, Flatten, Linear, MaxPool, ReLU
from nnlib.layers.layer import INFERENCE, Array
from nnlib.ops.convolution import conv2d_forward
from nnlib.precision.calibration import Calibration, Observer
from nnlib.precision.fixed import Integers, dequantise, quantise
from nnlib.precision.formats import STORAGE, IntegerName, integer_bits
from nnlib.precision.integer import check_exact, quantised_bias, requantise, sums_of
from nnlib.quantised.scheme import Tally

SUMS_LIMIT: Final = 2.0**30
"""What the products of a sum may add up to. It coarsens the steps of int16 weights; int8 sums never come near it."""


@dataclass(frozen=True, eq=False)
class IntegerProduct:
    """A convolution or a linear layer in integers. ``multiplier``: step of the sums over that of the result.

    ``relu``: it does the ReLU behind it as well.
    """

    weight: Integers
    bias: NDArray[np.int32]
    multiplier: NDArray[np.float64]
    relu: bool


def is_product(node: Node) -> bool:
    """True of layers that multiply integers."""
    layer = node.layer
    return isinstance(layer, Linear) or (isinstance(layer, Conv2d) and layer.groups == 1)


def keeps_integers(node: Node) -> bool:
    """True of layers whose outputs are some of their inputs, or 0."""
    layer = node.layer
    if isinstance(layer, MaxPool):
        return layer.padding in (0, (0, 0), (0, 0, 0, 0)) and not layer.ceil
    return isinstance(layer, Flatten | ReLU)


def fused_relus(graph: Graph) -> dict[str, str]:
    """For each product that a ReLU takes, and nobody else, that ReLU."""
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    return {
        node.name: users[node.name][0].name
        for node in graph.nodes
        if is_product(node)
        and node.name not in graph.outputs
        and [type(user.layer) for user in users.get(node.name, [])] == [ReLU]
    }


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A calibrated network: ``steps`` of the inputs and of the nodes whose values are integers."""

    graph: Graph
    variables: Variables
    storage: IntegerName
    steps: Mapping[str, float]
    products: Mapping[str, IntegerProduct]
    tally: Tally = field(default_factory=Tally)

    def outputs(self, inputs: Arrays) -> dict[str, Array]:
        """The graph's outputs as real numbers, some samples at a time."""
        count = len(next(iter(inputs.values())))
        parts = [
            self._outputs({name: array[part] for name, array in inputs.items()})
            for part in self.graph.host_batches(count)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.graph.outputs}

    def _outputs(self, inputs: Arrays) -> dict[str, Array]:
        values: dict[str, NDArray[Any]] = {}
        for each in self.graph.inputs:
            values[each.name] = inputs[each.name] if each.integer else self.narrow(each.name, inputs[each.name])
        for node in self.graph.nodes:
            values[node.name] = self.node(node, values)
        return {name: self.real(name, values[name]) for name in self.graph.outputs}

    def node(self, node: Node, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The integers of a node; of a product those behind its ReLU, which then passes them on."""
        product = self.products.get(node.name)
        if product is not None:
            narrow, outside = requantise(
                self.sums(node, product, values[node.inputs[0]]), product.multiplier, self.storage, relu=product.relu
            )
            self.tally.rounded += narrow.size
            self.tally.saturated += outside
            return narrow
        if keeps_integers(node):
            x = values[node.inputs[0]]
            return node.layer.forward({}, (x,), INFERENCE)[0].astype(x.dtype, copy=False)
        own = self.graph.own(self.variables, node.name)
        taken = tuple(self.real(name, values[name]) for name in node.inputs)
        return self.narrow(node.name, node.layer.forward(own, taken, INFERENCE)[0])

    def sums(self, node: Node, product: IntegerProduct, x: Integers) -> NDArray[np.int32]:
        """The 32-bit sums of a product."""
        weight = product.weight
        check_exact(x, weight, depth=int(np.prod(weight.shape[:-1])))
        wide = x.astype(np.float64), weight.astype(np.float64)
        layer = node.layer
        exact = conv2d_forward(*wide, None, **layer.options) if isinstance(layer, Conv2d) else wide[0] @ wide[1]
        sums = sums_of(np.asarray(exact, dtype=np.float64), product.bias)
        self.tally.overflows += sums.overflows
        return sums.values

    def narrow(self, name: str, x: Array) -> Integers:
        """Real numbers as the integers of a tensor."""
        q, outside = quantise(x, self.steps[name], self.storage)
        self.tally.rounded += q.size
        self.tally.saturated += outside
        return q

    def real(self, name: str, values: NDArray[Any]) -> Array:
        """The numbers of a tensor, in fp64."""
        if name not in self.steps:
            return values
        return dequantise(values, self.steps[name], np.float64)


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
    own = graph.inference
    observed = observe(own, variables, sample).steps(calibration or Calibration(), storage)
    fused = fused_relus(own)
    steps: dict[str, float] = {each.name: observed[each.name] for each in own.inputs if not each.integer}
    products = {}
    for node in own.nodes:
        if is_product(node):
            relu = fused.get(node.name)
            steps[node.name] = observed[node.name if relu is None else relu]
            products[node.name] = _product(
                own, variables, node, steps, storage, relu=relu is not None, per_channel=per_channel
            )
        elif keeps_integers(node):
            steps[node.name] = steps[node.inputs[0]]
        else:
            steps[node.name] = observed[node.name]
    return IntegerNetwork(graph=own, variables=variables, storage=storage, steps=steps, products=products)


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


def _product(
    graph: Graph,
    variables: Variables,
    node: Node,
    steps: Mapping[str, float],
    storage: IntegerName,
    *,
    relu: bool,
    per_channel: bool,
) -> IntegerProduct:
    own = graph.own(variables, node.name)
    weight = own["weight"]
    if isinstance(node.layer, Linear) and node.layer.transposed:
        weight = np.ascontiguousarray(weight.T)
    weight_steps = Calibration().channel_steps(weight, storage)
    # no sum may leave 32 bits, whatever comes in; a half of them is the bias's
    reach = np.abs(weight).reshape(-1, weight.shape[-1]).sum(axis=0)
    weight_steps = np.maximum(weight_steps, reach * 2.0 ** (integer_bits(storage) - 1) / SUMS_LIMIT)
    if not per_channel:
        weight_steps = np.full_like(weight_steps, weight_steps.max())
    sums = steps[node.inputs[0]] * weight_steps
    narrow, _ = quantise(weight, weight_steps, storage)
    bias = own.get("bias", np.zeros(weight.shape[-1]))
    return IntegerProduct(
        weight=narrow.astype(STORAGE[storage]),
        bias=quantised_bias(bias, sums),
        multiplier=sums / steps[node.name],
        relu=relu,
    )
