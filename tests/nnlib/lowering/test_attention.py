"""Attention and products of activations: the core group's tiles give what the layers give."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.layers.arrangement import Flatten
from nnlib.layers.attention import DotProductAttention, MultiHeadAttention
from nnlib.layers.layer import Run
from nnlib.layers.linear import Linear
from nnlib.layers.matmul import MatMul
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from sim.machine.load import load_machine
from tests.nnlib.kernels.tiles import relative_error

X, MEMORY, LENGTHS = Input("x", (6, 8)), Input("memory", (9, 5)), Input("lengths", (), integer=True)


def network(*nodes: Node) -> Graph:
    """The nodes behind a layer that learns, so that gradients by inputs are needed, and classes behind the last."""
    first = Node(MultiHeadAttention("first", 2), ("x",))
    tail = (Node(Flatten("flat"), (nodes[-1].name,)), Node(Linear("classes", 3), ("flat",)))
    return Graph((X, MEMORY, LENGTHS), (first, *nodes, *tail))


GRAPHS = {
    "self-attention": network(Node(MultiHeadAttention("a", 4, causal=True, bias=False), ("first",))),
    "lengths": network(Node(MultiHeadAttention("a", 1), ("first", "lengths"))),
    "memory": network(Node(MultiHeadAttention("a", 2, dropout=0.3), ("first", "memory"))),
    "memory that learns": network(
        Node(MultiHeadAttention("m", 5), ("memory",)), Node(MultiHeadAttention("a", 2), ("first", "m", "lengths"))
    ),
    "fan-out": network(
        Node(MultiHeadAttention("b", 2, dropout=0.5), ("first",)),
        Node(DotProductAttention("a", 2, causal=True, dropout=0.2), ("first", "b", "first")),
    ),
    "lengths of keys": network(Node(DotProductAttention("a", 1), ("first", "first", "first", "lengths"))),
    "key and value do not learn": network(Node(DotProductAttention("a", 4), ("first", "x", "x"))),
    "products": network(
        Node(MatMul("s", transpose_b=True), ("first", "x")),
        Node(MatMul("t", transpose_a=True), ("s", "first")),
        Node(MatMul("u", transpose_a=True, transpose_b=True), ("first", "s")),
        Node(MatMul("a"), ("t", "u")),
    ),
}


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("name", GRAPHS)
def test_tiles_are_the_layers(name: str) -> None:
    model = Model(GRAPHS[name], (CrossEntropy(outputs=("classes",)),))
    rng = np.random.default_rng(0)
    variables = model.graph.initialise(rng, np.dtype(np.float64))
    for variable, shape in model.graph.parameters.items():
        variables[variable] = rng.standard_normal(shape) / 2
    count = 5
    inputs = {each.name: rng.standard_normal((count, *each.shape)) for each in (X, MEMORY)}
    inputs["lengths"] = rng.integers(1, 7, count)
    batch = Batch(inputs=inputs, targets={"label": rng.integers(0, 3, count)})
    weights = rng.random(count)
    processor = load_machine("sunway_taihulight").processor
    host = HostDevice(model)
    run = Run(training=True, key=7, first_sample=11)
    expected = host.gradients(variables=variables, batch=batch, weights=weights, run=run)
    for recompute in (False, True):
        device = CoreGroupDevice(model, 3, "fp64", processor, recompute=recompute)
        found = device.gradients(variables=variables, batch=batch, weights=weights, run=run)
        assert found.loss == pytest.approx(expected.loss, rel=1e-12)
        assert found.parameters.keys() == expected.parameters.keys()
        largest = max(float(np.max(np.abs(each))) for each in expected.parameters.values())
        for parameter, gradient in expected.parameters.items():
            # gradients by the bias of keys cancel altogether
            error = float(np.max(np.abs(found.parameters[parameter] - gradient)))
            assert error <= 1e-12 * max(float(np.max(np.abs(gradient))), 0.01 * largest), parameter
    outputs = device.outputs(variables=variables, inputs=inputs)["classes"]
    assert relative_error(outputs, host.outputs(variables=variables, inputs=inputs)["classes"]) <= 1e-12
