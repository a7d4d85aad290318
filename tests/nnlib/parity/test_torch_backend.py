"""PyTorch as the backend gives what the host's own numerics give: losses, gradients, statistics, outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.device import HostDevice
from nnlib.graph import Graph, Node
from nnlib.layers import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    Run,
)
from nnlib.layers.layer import Array, Params, Saved, Shape, only_input
from nnlib.losses import CrossEntropy
from nnlib.model import Gradients, Model
from tests.nnlib.lowering.test_attention import GRAPHS as ATTENTIONS
from tests.nnlib.parity import TOLERANCE

pytest.importorskip("torch")
from nnlib.torch_backend.device import TorchDevice
from nnlib.torch_backend.rules import LAYER_RULES

pytestmark = [pytest.mark.parity, pytest.mark.numeric]


@dataclass(frozen=True)
class Cubed(Layer):
    """A layer that no backend has a rule for."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return inputs[0] ** 3, inputs[0]

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (3 * saved**2 * grad_output if needs[0] else None,), {}


def chain(shape: Shape, *layers: Layer) -> Graph:
    """The layers, and classes behind them."""
    return Graph.chain(shape, [*layers, Flatten("flat"), Linear("classes", 3)])


GRAPHS = {
    "convolutions": chain(
        (9, 8, 4),
        Conv2d("c1", 6, (3, 2), (2, 1), (1, 0)),
        ReLU("r1"),
        Conv2d("c2", 4, (1, 1), 2, bias=False),
        Conv2d("c3", 6, (2, 3), 1, (1, 2, 0, 3), dilation=(1, 2), groups=2),
        MaxPool("p", (2, 2), 2),
    ),
    "sequences": chain(
        (13, 4),
        Conv1d("c1", 6, 3, 2, (2, 0), dilation=2, groups=2),
        ReLU("r1"),
        ConvTranspose1d("t1", 4, 3, 2, (1, 0), 1),
        Conv1d("c2", 2, 2, padding=1),
    ),
    "transposed convolutions": chain(
        (4, 5, 4),
        ConvTranspose2d("t1", 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=2),
        ConvTranspose2d("t2", 3, (2, 2), 2, (1, 0, 2, 1), 1, False, 2),
    ),
    "layers without a rule": chain((7,), Linear("l1", 5), Cubed("cubed"), Linear("l2", 4, transposed=True)),
} | {f"attention, {name}": graph for name, graph in ATTENTIONS.items()}


def data(graph: Graph, dtype: str, count: int) -> tuple[dict[str, Array], Batch, Array]:
    """Variables, a batch and weights of its samples."""
    rng = np.random.default_rng(1)
    variables = graph.initialise(rng, np.dtype(dtype))
    inputs = {
        each.name: rng.integers(1, 6, (count, *each.shape))
        if each.integer
        else rng.standard_normal((count, *each.shape)).astype(dtype)
        for each in graph.inputs
    }
    batch = Batch(inputs=inputs, targets={"label": rng.integers(0, 3, count)})
    return variables, batch, rng.random(count).astype(dtype)


def check_gradients(found: Gradients, expected: Gradients, dtype: str) -> None:
    """Gradients that cancel altogether are compared with the largest of all."""
    assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE[dtype])
    assert found.parameters.keys() == expected.parameters.keys()
    assert found.statistics.keys() == expected.statistics.keys()
    largest = max(float(np.max(np.abs(each))) for each in expected.parameters.values())
    for name, array in (expected.parameters | expected.statistics).items():
        other = (found.parameters | found.statistics)[name]
        assert (other.shape, other.dtype) == (array.shape, array.dtype), name
        error = float(np.max(np.abs(other - array)))
        assert error <= TOLERANCE[dtype] * max(float(np.max(np.abs(array))), 0.01 * largest), name


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", GRAPHS)
def test_the_backend_computes_what_the_host_computes(name: str, dtype: str) -> None:
    graph = GRAPHS[name]
    model = Model(graph, (CrossEntropy(outputs=("classes",)),))
    variables, batch, weights = data(graph, dtype, 5)
    run = Run(training=True, key=9, first_sample=4)
    for together in (None, 2):
        expected = HostDevice(model, together).gradients(variables=variables, batch=batch, weights=weights, run=run)
        device = TorchDevice(model, together, "cpu")
        found = device.gradients(variables=variables, batch=batch, weights=weights, run=run)
        check_gradients(found, expected, dtype)
    mine, theirs = (
        device.outputs(variables=variables, inputs=batch.inputs)["classes"]
        for device in (HostDevice(model), TorchDevice(model, name="cpu"))
    )
    assert theirs.dtype == mine.dtype
    assert np.max(np.abs(mine - theirs)) <= TOLERANCE[dtype] * np.max(np.abs(mine))


def test_layers_that_no_loss_depends_on_have_zero_gradients() -> None:
    graph = GRAPHS["layers without a rule"]
    graph = Graph(graph.inputs, (*graph.nodes, Node(Linear("aside", 2), ("l1",))), ("classes", "aside"))
    model = Model(graph, (CrossEntropy(outputs=("classes",)),))
    variables, batch, weights = data(graph, "float64", 3)
    found = TorchDevice(model, name="cpu").gradients(variables=variables, batch=batch, weights=weights)
    assert not found.parameters["aside.weight"].any()
    assert found.parameters["l1.weight"].any()


def test_an_empty_batch_is_an_error() -> None:
    graph = GRAPHS["layers without a rule"]
    variables, batch, weights = data(graph, "float64", 0)
    with pytest.raises(ValueError, match="no samples"):
        TorchDevice(Model(graph), name="cpu").gradients(variables=variables, batch=batch, weights=weights)


def test_every_layer_of_these_networks_but_one_has_a_rule() -> None:
    kinds = {type(node.layer).__name__ for graph in GRAPHS.values() for node in graph.nodes}
    assert kinds - LAYER_RULES.keys() == {"Cubed"}
