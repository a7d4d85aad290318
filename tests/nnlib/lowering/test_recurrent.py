"""Recurrent layers, lookahead, last steps and CTC on a core group's tiles against whole layers on the host."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.layers.binary import Add
from nnlib.layers.layer import Run
from nnlib.layers.linear import Linear
from nnlib.layers.recurrent import GRU, LSTM, SimpleRecurrent
from nnlib.layers.sequence import LastStep, RowConvolution, StridedLengths
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.model import Model
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine
from tests.nnlib.kernels.tiles import relative_error

X, LENGTHS = Input("x", (7, 5)), Input("lengths", (), integer=True)


def network(*nodes: Node, by: str = "lengths", bias: bool = True) -> Model:
    """The nodes behind a layer that learns, so that gradients by inputs are needed, and CTC behind the last one."""
    first = Node(Linear("first", 6, bias), ("x",))
    graph = Graph((X, LENGTHS), (first, *nodes, Node(Linear("logits", 4), (nodes[-1].name,))))
    return Model(graph, (CtcLoss(outputs=("logits", by), target="labels", labels=2, normalised=True),))


def classified(*nodes: Node) -> Model:
    """The same, and classes of the last step."""
    first = Node(Linear("first", 6), ("x",))
    graph = Graph((X, LENGTHS), (first, *nodes, Node(Linear("classes", 3), (nodes[-1].name,))))
    return Model(graph, (CrossEntropy(outputs=("classes",)),))


MODELS: dict[str, Model] = {
    "lstm": network(Node(LSTM("a", 9), ("first",))),
    "lstm with lengths": network(Node(LSTM("a", 4, bidirectional=True), ("first", "lengths"))),
    "weights that stay in the LDM": network(Node(LSTM("a", 128), ("first", "lengths"))),
    "gru without bias": network(Node(GRU("a", 5, bias=False), ("first", "lengths"))),
    "gru, reset first": network(
        Node(GRU("a", 4, bidirectional=True, linear_before_reset=False), ("first", "lengths")),
        Node(GRU("b", 5, linear_before_reset=False), ("a",)),
    ),
    "gru, sum": network(Node(GRU("a", 5, bidirectional=True, merge="sum"), ("first", "lengths"))),
    "simple": network(
        Node(SimpleRecurrent("a", 8, bidirectional=True, merge="sum", activation="clipped_relu"), ("first",)),
        Node(SimpleRecurrent("b", 3), ("a", "lengths")),
    ),
    "lookahead": network(Node(RowConvolution("a", 2), ("first", "lengths")), Node(RowConvolution("b", 9), ("a",))),
    "fan-out": network(
        Node(LSTM("a", 6), ("first", "lengths")), Node(Add("b"), ("a", "first")), Node(GRU("c", 2), ("b", "lengths"))
    ),
    "last step": classified(Node(GRU("a", 5), ("first",)), Node(LastStep("b"), ("a",))),
    "last step by lengths": classified(Node(GRU("a", 5), ("first",)), Node(LastStep("b"), ("a", "lengths"))),
    "strided lengths": network(
        Node(StridedLengths("shorter", 3, 1, 1), ("lengths",)), Node(LSTM("a", 3), ("first", "shorter")), by="shorter"
    ),
}
# normalisation takes out again what a bias before it adds
NORMALISED: dict[str, Model] = {
    "simple": network(
        Node(SimpleRecurrent("a", 5, bidirectional=True, merge="sum", normalised=True), ("first", "lengths")),
        bias=False,
    ),
    "lstm": network(Node(LSTM("a", 3, normalised=True), ("first",)), bias=False),
    "gru": network(Node(GRU("a", 3, normalised=True), ("first",)), bias=False),
}


def batch_of(model: Model, samples: int, dtype: DTypeName) -> Batch:
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 4, (samples, 2))
    labels[0, 1] = -1
    targets = {"labels": labels} if "labels" in model.targets else {"label": rng.integers(0, 3, samples)}
    inputs = {"x": rng.standard_normal((samples, *X.shape)), "lengths": rng.integers(3, 8, samples)}
    return Batch(inputs=inputs, targets=targets).astype(DTYPES[dtype])


def check(model: Model, *, samples: int, batch: int, dtype: DTypeName, recompute: bool) -> None:
    rng = np.random.default_rng(0)
    number = DTYPES[dtype]
    variables = {
        name: (array + 0.2 * rng.standard_normal(array.shape) ** 2).astype(number)
        for name, array in model.graph.initialise(rng, np.dtype(np.float64)).items()
    }
    data, weights = batch_of(model, samples, dtype), rng.random(samples).astype(number)
    device = CoreGroupDevice(model, batch, dtype, load_machine("sunway_taihulight").processor, recompute=recompute)
    host, run = HostDevice(model), Run(training=True)
    expected = host.gradients(variables=variables, batch=data, weights=weights, run=run)
    found = device.gradients(variables=variables, batch=data, weights=weights, run=run)
    limit = 1e-12 if dtype == "fp64" else 1e-4
    assert found.loss == pytest.approx(expected.loss, rel=limit)
    for mine, theirs in ((found.parameters, expected.parameters), (found.statistics, expected.statistics)):
        assert mine.keys() == theirs.keys()
        for name, array in theirs.items():
            assert mine[name].dtype == array.dtype
            assert relative_error(mine[name], array) <= limit, name
    outputs = device.outputs(variables=variables, inputs=data.inputs)
    for name, array in host.outputs(variables=variables, inputs=data.inputs).items():
        assert relative_error(outputs[name], array) <= limit


@pytest.mark.numeric
@pytest.mark.parametrize(
    "name", [name if name == "lstm with lengths" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_tiles_are_the_layers(name: str) -> None:
    """Fewer and more samples than the core group takes at once."""
    check(MODELS[name], samples=5, batch=3, dtype="fp64", recompute=False)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("name", ["lstm with lengths", "gru, sum", "lookahead", "last step by lengths"])
def test_in_single_precision_and_computed_again(name: str) -> None:
    check(MODELS[name], samples=9, batch=9, dtype="fp32", recompute=True)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("name", NORMALISED)
def test_normalised_products(name: str) -> None:
    check(NORMALISED[name], samples=6, batch=6, dtype="fp64", recompute=False)
