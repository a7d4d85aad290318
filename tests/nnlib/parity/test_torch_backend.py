"""PyTorch as the backend gives what the host's own numerics give: losses, gradients, statistics, outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nnlib.batch import Batch
from nnlib.device import HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.layers.activation import POINTWISE, Log, Reciprocal, ReLU, Sigmoid, Sqrt, Square
from nnlib.layers.adaptive_pooling import AdaptiveAveragePool, AdaptiveMaxPool
from nnlib.layers.arrangement import Concatenate, Flatten, Pad, Reshape, Select, Slice, Transpose
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.layers.axis_reduction import Expand, Mean, Sum
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add, Divide, Multiply, Subtract
from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding, PositionEmbedding
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm, RMSNorm
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input
from nnlib.layers.linear import Linear
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.layers.operand import Operand
from nnlib.layers.prelu import PReLU
from nnlib.layers.recurrent import GRU, LSTM, SimpleRecurrent
from nnlib.layers.reparameterise import Reparameterise
from nnlib.layers.resize import Upsample
from nnlib.layers.scale import Scale
from nnlib.layers.sequence import LastStep, RowConvolution
from nnlib.layers.softmax import LogSoftmax, Softmax
from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.losses.dice import Dice
from nnlib.losses.gaussian_kl import GaussianKL
from nnlib.losses.regression import L1, MeanSquaredError, SmoothL1
from nnlib.model import Gradients, Model
from taihusim.cli import main
from tests.nnlib.kinds import every_layer, every_loss
from tests.nnlib.lowering.test_attention import GRAPHS as ATTENTIONS
from tests.nnlib.parity import TOLERANCE

pytest.importorskip("torch")
from nnlib.torch_backend import rules
from nnlib.torch_backend.device import TorchDevice
from nnlib.torch_backend.rules import LAYER_RULES, LOSS_RULES

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
    "pooling": chain(
        (12, 11, 3),
        MaxPool("p1", 3, 2, (1, 0, 1, 1)),
        AveragePool("p2", (2, 3), (1, 2), 1, ceil=True),
        MaxPool("p3", 2, 1, 1, ceil=True, dilation=2),
        AveragePool("p4", 2, 1, (0, 1, 1, 0), count_padding=False),
        AdaptiveAveragePool("p5", (3, 2)),
    ),
    "pooling of sequences": chain(
        (14, 3), MaxPool1d("p1", 3, 2, (1, 0)), AveragePool1d("p2", 2, 2, ceil=True), GlobalAveragePool("p3")
    ),
    "largest": chain((9, 7, 3), AdaptiveMaxPool("p1", (5, 4)), GlobalMaxPool("p2")),
    "arrangements": chain(
        (4, 6, 2),
        Pad("a1", ((1, 0), (0, -1), (0, 0)), value=0.5),
        Pad("a2", ((1, 1), (0, 2), (0, 0)), mode="reflect"),
        Transpose("a3", (2, 0, 1)),
        Slice("a4", 2, 5, 0, -2),
        Slice("a5", 1, 1, None),
        Upsample("a6", 2),
        Upsample("a7", None, (7, 5), "bilinear"),
        Upsample("a8", None, (3, 11), "bilinear", True),
        Mean("a9", (0,), True),
        Expand("a10", (4, 11, 3)),
        Sum("a11", (1,)),
        Reshape("a12", (6, -1)),
        Select("a13", 0, (1, -1, 1)),
    ),
    "normalisation": chain(
        (5, 4, 6),
        BatchNorm("n1"),
        GroupNorm("n2", 3),
        LocalResponseNorm("n3", 3, alpha=0.3),
        LayerNorm("n4", 2),
        RMSNorm("n5"),
        BatchNorm("n6", affine=False, momentum=0.3),
        Flatten("vectors"),
        LocalResponseNorm("n7", 4, k=2.0),
        BatchNorm("n8", epsilon=1e-3),
    ),
    "rectified": Graph(
        (Input("x", (5, 4, 3)),),
        (
            Node(Conv2d("c1", 4, (3, 3), padding=1), ("x",)),
            Node(ReLU("r1"), ("c1",)),
            Node(Conv2d("c2", 4, (1, 1)), ("r1",)),
            Node(BatchNorm("n2"), ("c2",)),
            Node(ReLU("r2"), ("n2",)),
            Node(Add("a3"), ("r2", "r1")),
            Node(ReLU("r3"), ("a3",)),
            Node(Add("a4"), ("r3",)),
            Node(ReLU("r4"), ("a4",)),
            Node(BatchNorm("n5"), ("r4",)),
            Node(ReLU("r5"), ("n5",)),
            Node(Multiply("m6"), ("r5", "n5")),
            Node(Flatten("flat"), ("m6",)),
            Node(Linear("classes", 3), ("flat",)),
        ),
    ),
    "joined": Graph(
        (Input("x", (5, 4)),),
        (
            Node(Linear("a", 4), ("x",)),
            Node(Linear("b", 1), ("x",)),
            Node(Add("add"), ("a", "b", "x", "a")),
            Node(Subtract("subtract"), ("add", "b")),
            Node(Multiply("multiply"), ("subtract", "a")),
            Node(Sigmoid("sigmoid"), ("b",)),
            Node(Divide("divide"), ("multiply", "sigmoid")),
            Node(Concatenate("concatenate", 0), ("divide", "a")),
            Node(Operand("operand", "subtract", (4,), first=True), ("concatenate",)),
            Node(Flatten("flat"), ("operand",)),
            Node(Linear("classes", 3), ("flat",)),
        ),
    ),
    "functions of positive numbers": chain(
        (30,),
        Linear("l1", 8),
        Square("square"),
        Scale("positive", 1.0, 2.0),
        Log("log"),
        Scale("higher", 2.0, 3.0),
        Sqrt("sqrt"),
        Reciprocal("reciprocal"),
    ),
    "softmax": chain(
        (5, 6), Linear("l1", 8), PReLU("prelu"), Softmax("softmax", 0), LogSoftmax("log"), Dropout("dropout", 0.4)
    ),
    "tokens": Graph(
        (Input("tokens", (6,), integer=True),),
        (
            Node(Embedding("words", 9, 4), ("tokens",)),
            Node(PositionEmbedding("places"), ("words",)),
            Node(Flatten("flat"), ("places",)),
            Node(Linear("classes", 3), ("flat",)),
        ),
    ),
    "code": Graph(
        (Input("x", (7,)),),
        (
            Node(Linear("mean", 4), ("x",)),
            Node(Linear("log_variance", 4), ("x",)),
            Node(Reparameterise("code"), ("mean", "log_variance")),
            Node(Linear("classes", 3), ("code",)),
        ),
    ),
    "recurrent": chain(
        (6, 3),
        LSTM("r1", 4, True),
        GRU("r2", 3, True, "sum"),
        SimpleRecurrent("r3", 5, bias=False),
        GRU("r4", 2, linear_before_reset=False),
        SimpleRecurrent("r5", 4, activation="clipped_relu", ceiling=1.0),
        LSTM("r6", 3, normalised=True),
        LastStep("last"),
    ),
    "recurrent, lengths": Graph(
        (Input("x", (6, 3)), Input("lengths", (), integer=True)),
        (
            Node(LSTM("r1", 4, True), ("x", "lengths")),
            Node(GRU("r2", 3), ("r1", "lengths")),
            Node(SimpleRecurrent("r3", 5, activation="relu"), ("r2", "lengths")),
            Node(RowConvolution("row", 2), ("r3", "lengths")),
            Node(LastStep("last"), ("row", "lengths")),
            Node(Linear("classes", 3), ("last",)),
        ),
    ),
}
GRAPHS |= {
    kind.__name__: chain((30,), Linear("l1", 20), kind("f"))
    for kind in POINTWISE
    if kind not in (Log, Sqrt, Reciprocal)
}
GRAPHS |= {f"attention, {name}": graph for name, graph in ATTENTIONS.items()}


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
    variables, batch, weights = data(graph, dtype, 6)
    run = Run(training=True, key=9, first_sample=4)
    for together in (None, 4):
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


LOSSES = {
    "labels": ((4, 3), (CrossEntropy(outputs=("y",), label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5)),)),
    "one label": ((3,), (CrossEntropy(outputs=("y",), weight=0.3), CrossEntropy(outputs=("y",), label_smoothing=0.2))),
    "numbers": (
        (4, 3),
        (
            MeanSquaredError(outputs=("y",), target="numbers"),
            L1(outputs=("y",), target="numbers", weight=2.0),
            SmoothL1(outputs=("y",), target="numbers", beta=0.7),
        ),
    ),
    "two cases": (
        (4, 3),
        (
            BinaryCrossEntropy(outputs=("y",), target="truth", positive_weight=3.0),
            BinaryCrossEntropy(outputs=("p",), target="truth", logits=False),
        ),
    ),
    "overlap": ((4, 3), (Dice(outputs=("y",)),)),
    "divergence": ((4, 3), (GaussianKL(outputs=("y", "p")),)),
    "alignments": ((4, 3), (CtcLoss(outputs=("y",), target="labels", labels=2),)),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_host_s(name: str, dtype: str) -> None:
    shape, losses = LOSSES[name]
    nodes = (Node(Linear("y", 3), ("input",)), Node(Sigmoid("p"), ("y",)))
    model = Model(Graph((Input("input", shape),), nodes), losses)
    variables, batch, weights = data(model.graph, dtype, 6)
    rng = np.random.default_rng(2)
    targets = {
        "label": rng.integers(-1, 3, (6, *shape[:-1])),
        "numbers": rng.standard_normal((6, *shape)).astype(dtype),
        "truth": rng.choice([-1.0, 0.0, 0.3, 1.0], (6, *shape)).astype(dtype),
        "labels": np.array([[1, 2], [1, -1], [2, 2], [-1, -1], [2, 1], [1, 1]]),
    }
    batch = Batch(inputs=batch.inputs, targets={target: targets[target] for target in model.targets})
    expected = HostDevice(model).gradients(variables=variables, batch=batch, weights=weights)
    found = TorchDevice(model, name="cpu").gradients(variables=variables, batch=batch, weights=weights)
    check_gradients(found, expected, dtype)


def test_layers_have_a_rule_and_are_compared() -> None:
    kinds = {type(node.layer).__name__ for graph in GRAPHS.values() for node in graph.nodes}
    assert kinds - LAYER_RULES.keys() == {"Cubed"}
    assert LAYER_RULES.keys() <= kinds


def test_what_this_library_computes_itself_is_what_the_rules_say() -> None:
    assert {kind.__name__ for kind in every_layer()} - LAYER_RULES.keys() == {"Gather", "StridedLengths"}
    assert {kind.__name__ for kind in every_loss()} - LOSS_RULES.keys() == {"CtcLoss", "Dice"}
    for name in ("Gather", "StridedLengths", "CtcLoss", "Dice"):
        assert f".{name}`" in str(rules.__doc__)


def test_training_and_inference_take_the_backend() -> None:
    def run(*options: str) -> dict[str, Any]:
        result = CliRunner().invoke(main, [*options, "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    train = ("train", "digits", "--epochs", "0.2", "--dtype", "fp64")
    mine, theirs = (run(*train, "--backend", backend)["runs"][0] for backend in ("numpy", "torch"))
    assert theirs["final_loss"] == pytest.approx(mine["final_loss"], rel=1e-10)
    assert theirs["seconds_total"] == mine["seconds_total"]
    infer = ("infer", "digits", "--nodes", "1")
    assert run(*infer, "--backend", "torch")["points"] == run(*infer)["points"]
