"""Layers that pool, arrange, resize, add, reduce, drop and embed: the core group's tiles against whole layers.

Each layer stands in the middle of a network, so that its input gradients are needed, and its input has another use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.layers.activation import Exp
from nnlib.layers.adaptive_pooling import AdaptiveAveragePool, AdaptiveMaxPool
from nnlib.layers.arrangement import Concatenate, Flatten, Pad, Reshape, Select, Slice, Transpose
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.layers.axis_reduction import Expand, Mean, Sum
from nnlib.layers.binary import Add, Divide, Multiply, Subtract
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding, Gather, PositionEmbedding
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.layer import Layer, Run, Shape
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.layers.resize import Upsample
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine
from tests.nnlib.test_device import check_same

CLASSES = 3
TOLERANCE: dict[DTypeName, float] = {"fp64": 1e-12, "fp32": 1e-4}
IMAGE: Shape = (7, 6, 2)
SEQUENCE: Shape = (9, 4)

ON_IMAGES: list[Layer] = [
    MaxPool("x", 3, 2, 1),
    MaxPool("x", (2, 3), (1, 2), (0, 1, 1, 0), True),
    MaxPool("x", (2, 2), 1, 1, False, 2),
    AveragePool("x", 3, 2, 1),
    AveragePool("x", (2, 3), (3, 2), (1, 0, 0, 1), True, False),
    GlobalAveragePool("x"),
    GlobalMaxPool("x"),
    AdaptiveAveragePool("x", (3, 2)),
    AdaptiveAveragePool("x", 1),
    AdaptiveMaxPool("x", (3, 4)),
    AdaptiveMaxPool("x", (7, 2)),
    Reshape("x", (6, -1)),
    Transpose("x", (2, 0, 1)),
    Transpose("x", (1, 2, 0)),
    Slice("x", 0, 1, 6),
    Slice("x", -1, 1, None),
    Slice("x", 1, None, None, -2),
    Slice("x", 0, 1, None, 3),
    Pad("x", ((1, 2), (0, 3), (0, 1)), "constant", 0.5),
    Pad("x", ((-1, 2), (3, -2), (0, 0))),
    Pad("x", ((3, 2), (1, 4), (0, 1)), "reflect"),
    Pad("x", ((0, 0), (1, 2), (0, 0)), "edge"),
    Pad("x", ((0, 0), (0, 0), (0, 0)), "edge"),
    Select("x", 1, (0, 5, -1, 0)),
    Upsample("x", 2),
    Upsample("x", None, (5, 11), "bilinear"),
    Upsample("x", (1, 3), None, "bilinear", True),
    Mean("x", (0, 1)),
    Mean("x", (1,), True),
    Sum("x", (0, 2)),
    Sum("x", (-1,), True),
    Dropout("x", 0.4),
    Dropout("x", 0.0),
    Expand("x", (2, 7, 6, 2)),
    Expand("x", (7, 6, 2)),
]
ON_SEQUENCES: list[Layer] = [
    MaxPool1d("x", 3, 2, 1),
    MaxPool1d("x", 2, 3, (0, 1), True),
    AveragePool1d("x", 3, 2, 1, False, False),
    AveragePool1d("x", 2, 3, (1, 0), True),
    GlobalAveragePool("x"),
    Upsample("x", 3),
    Upsample("x", None, 13, "bilinear"),
    PositionEmbedding("x"),
    PositionEmbedding("x", 9),
    Transpose("x", (1, 0)),
    Mean("x", (0,)),
]


def model(nodes: Sequence[Node], *, inputs: tuple[Input, ...]) -> Model:
    """The nodes, then a linear layer to classes from the last and one that takes ``first`` once more."""
    last = nodes[-1].name
    head = [
        Node(Flatten("flat"), (last,)),
        Node(Linear("head", CLASSES), ("flat",)),
        Node(Flatten("aside"), ("first",)),
        Node(Linear("head_aside", CLASSES), ("aside",)),
        Node(Add("both"), ("head", "head_aside")),
    ]
    return Model(Graph(inputs, (*nodes, *head)), (CrossEntropy(outputs=("both",)),))


def check(of: Model, *, dtype: DTypeName = "fp64", samples: int = 5, tokens: int = 6) -> None:
    """Gradients and inference of two batches per core group are the host's, whatever is shared out."""
    rng = np.random.default_rng(4)
    number = DTYPES[dtype]
    variables = of.graph.initialise(rng, np.dtype(np.float64))
    variables = {
        name: (array + 0.05 * rng.standard_normal(array.shape)).astype(number) for name, array in variables.items()
    }
    inputs = {
        each.name: rng.integers(0, tokens, (samples, *each.shape))
        if each.integer
        else rng.standard_normal((samples, *each.shape)).astype(number)
        for each in of.graph.inputs
    }
    labels = rng.integers(0, CLASSES, samples)
    batch = Batch(inputs=inputs, targets={"label": labels})
    tiles = CoreGroupDevice(of, 3, dtype, load_machine(DEFAULT_MACHINE).processor)
    host = HostDevice(of)
    weights = np.ones(samples, dtype=number)
    run = Run(training=True, key=77, first_sample=11)
    found = tiles.gradients(variables=variables, batch=batch, weights=weights, run=run)
    expected = host.gradients(variables=variables, batch=batch, weights=weights, run=run)
    assert abs(found.loss - expected.loss) <= TOLERANCE[dtype] * abs(expected.loss)
    check_same(found.parameters, expected.parameters, TOLERANCE[dtype])
    outputs = host.outputs(variables=variables, inputs=inputs)
    check_same(tiles.outputs(variables=variables, inputs=inputs), outputs, TOLERANCE[dtype])


def described(layer: Layer) -> str:
    return repr(layer).replace("name='x', ", "").replace("name='x'", "")


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("layer", ON_IMAGES, ids=described)
def test_layers_on_images(layer: Layer, dtype: DTypeName) -> None:
    first = Node(Conv2d("first", 2, (3, 3), padding=1), ("input",))
    check(model([first, Node(layer, ("first",))], inputs=(Input("input", IMAGE),)), dtype=dtype)


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("layer", ON_SEQUENCES, ids=described)
def test_layers_on_sequences(layer: Layer, dtype: DTypeName) -> None:
    first = Node(Conv1d("first", 4, 3, padding=1), ("input",))
    check(model([first, Node(layer, ("first",))], inputs=(Input("input", SEQUENCE),)), dtype=dtype)


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("kind", [Add, Subtract, Multiply, Divide])
def test_two_inputs_are_repeated_where_they_are_shorter(
    kind: type[Add | Subtract | Multiply | Divide], dtype: DTypeName
) -> None:
    first = [
        Node(Conv2d("first", 2, (3, 3), padding=1), ("input",)),
        Node(Mean("channels", (0, 1)), ("first",)),
        Node(Sum("columns", (0, 2), keep=True), ("first",)),
        Node(Conv2d("other", 2, (1, 1)), ("input",)),
    ]
    for pair in [("first", "other"), ("first", "channels"), ("columns", "first"), ("columns", "channels")]:
        nodes, (x, y) = first, pair
        if kind is Divide:  # by nothing near zero
            nodes, y = [*first, Node(Exp("positive"), (y,))], "positive"
        check(model([*nodes, Node(kind("x"), (x, y))], inputs=(Input("input", IMAGE),)), dtype=dtype)


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
def test_sums_and_concatenations_of_many(dtype: DTypeName) -> None:
    nodes = [
        Node(Conv2d("first", 2, (3, 3), padding=1), ("input",)),
        Node(Mean("channels", (0, 1)), ("first",)),
        Node(Add("sum"), ("first", "channels", "first", "channels")),
        Node(Multiply("square"), ("sum", "sum")),
        Node(Concatenate("rows", 0), ("first", "square", "sum")),
        Node(Concatenate("beside"), ("rows", "rows", "rows")),
    ]
    check(model(nodes, inputs=(Input("input", IMAGE),)), dtype=dtype)


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", pytest.param("fp32", marks=pytest.mark.slow)])
def test_embeddings(dtype: DTypeName) -> None:
    tokens = Input("tokens", (9,), integer=True)
    nodes = [
        Node(Embedding("first", 6, 4), ("tokens",)),
        Node(PositionEmbedding("places"), ("first",)),
        Node(Embedding("second", 7, 4), ("tokens",)),
        Node(Add("x"), ("places", "second")),
    ]
    check(model(nodes, inputs=(tokens,)), dtype=dtype)
    again = [nodes[0], Node(Embedding("second", 6, 4), ("tokens",), shared=(("weight", "first.weight"),))]
    check(model([*again, Node(Multiply("x"), ("first", "second"))], inputs=(tokens,)), dtype=dtype)


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_gathering_from_samples(axis: int, shape: tuple[int, ...]) -> None:
    inputs = (Input("input", IMAGE), Input("indices", shape, integer=True))
    nodes = [
        Node(Conv2d("first", 6, (3, 3), padding=1), ("input",)),
        Node(Gather("x", axis), ("first", "indices")),
    ]
    check(model(nodes, inputs=inputs))


def test_dropout_draws_the_same_however_samples_are_shared_out() -> None:
    nodes = [Node(Conv2d("first", 2, (3, 3), padding=1), ("input",)), Node(Dropout("x", 0.5), ("first",))]
    of = model(nodes, inputs=(Input("input", IMAGE),))
    rng = np.random.default_rng(0)
    variables = of.graph.initialise(rng, np.dtype(np.float64))
    batch = Batch(inputs={"input": rng.standard_normal((6, *IMAGE))}, targets={"label": rng.integers(0, CLASSES, 6)})
    processor = load_machine(DEFAULT_MACHINE).processor
    run = Run(training=True, key=5, first_sample=3)
    found = [
        CoreGroupDevice(of, together, "fp64", processor).gradients(
            variables=variables, batch=batch, weights=np.ones(6), run=run
        )
        for together in (1, 4, 6)
    ]
    for other in found[1:]:
        check_same(other.parameters, found[0].parameters, 1e-12)
    another = HostDevice(of).gradients(
        variables=variables, batch=batch, weights=np.ones(6), run=Run(training=True, key=6, first_sample=3)
    )
    assert abs(another.loss - found[0].loss) > 1e-6
