"""Activations and losses on a core group's tiles against whole layers on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from machine_configs import DEFAULT_MACHINE
from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph, Input, Node
from nnlib.layers.activation import (
    ELU,
    GELU,
    POINTWISE,
    Abs,
    ClippedReLU,
    Exp,
    LeakyReLU,
    Log,
    Reciprocal,
    Sigmoid,
    Softplus,
    Sqrt,
    Square,
)
from nnlib.layers.arrangement import Flatten, Reshape
from nnlib.layers.binary import Add
from nnlib.layers.layer import Array, Layer, Run
from nnlib.layers.linear import Linear
from nnlib.layers.prelu import PReLU
from nnlib.layers.reparameterise import Reparameterise
from nnlib.layers.scale import Scale
from nnlib.layers.softmax import LogSoftmax, Softmax
from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.dice import Dice
from nnlib.losses.gaussian_kl import GaussianKL
from nnlib.losses.loss import Loss
from nnlib.losses.regression import L1, MeanSquaredError, SmoothL1
from nnlib.lowering.losses.numbers import row_length
from nnlib.model import Model
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine

TOLERANCE: dict[DTypeName, float] = {"fp64": 1e-12, "fp32": 1e-4}
POSITIVE = (Log, Sqrt, Reciprocal)
LAYERS: dict[str, Layer] = {kind.__name__: kind("a") for kind in POINTWISE} | {
    "tanh GELU": GELU("a", approximate=True),
    "LeakyReLU with a slope": LeakyReLU("a", 0.3),
    "ELU with alpha": ELU("a", 0.7),
    "ClippedReLU with a limit": ClippedReLU("a", 0.4),
    "PReLU": PReLU("a"),
    "shared PReLU": PReLU("a", shared=True),
    "Scale": Scale("a", 1.7, -0.3),
    "Softmax": Softmax("a"),
    "Softmax along rows": Softmax("a", axis=0),
    "LogSoftmax": LogSoftmax("a"),
    "LogSoftmax along the middle": LogSoftmax("a", axis=1),
}


def check(model: Model, batch: Batch, *, dtype: DTypeName, together: int) -> None:
    """Losses and gradients of ``together`` samples at a time, weighted, and the outputs of inference."""
    tiles = CoreGroupDevice(model, together, dtype, load_machine(DEFAULT_MACHINE).processor)
    host = HostDevice(model)
    rng = np.random.default_rng(5)
    variables = {
        name: (array + 0.05 * rng.standard_normal(array.shape)).astype(DTYPES[dtype])
        for name, array in model.initialise(rng, np.dtype(np.float64)).items()
    }
    weights = rng.integers(1, 4, len(batch)).astype(DTYPES[dtype])
    batch = batch.astype(DTYPES[dtype])
    run = Run(training=True, key=77, first_sample=3)
    found = tiles.gradients(variables=variables, batch=batch, weights=weights, run=run)
    expected = host.gradients(variables=variables, batch=batch, weights=weights, run=run)
    assert found.loss == pytest.approx(expected.loss, rel=10 * TOLERANCE[dtype])
    same(found.parameters, expected.parameters, dtype)
    inputs = batch.inputs
    same(tiles.outputs(variables=variables, inputs=inputs), host.outputs(variables=variables, inputs=inputs), dtype)


def same(found: dict[str, Array], expected: dict[str, Array], dtype: DTypeName) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert np.max(np.abs(found[name] - array)) <= TOLERANCE[dtype] * max(np.max(np.abs(array)), 1e-3), name


def around(layer: Layer, shape: tuple[int, ...]) -> Graph:
    """The layer between two products, its input positive where it has to be, its output used twice."""
    size = int(np.prod(shape))
    before: list[Layer] = [Linear("first", size), Reshape("images", shape)]
    if isinstance(layer, POSITIVE):
        before += [Square("positive"), Scale("off", 1.0, 0.5)]
    if isinstance(layer, Exp):
        before += [Scale("small", 0.1)]
    ways = [(Flatten("flat"), Linear("one", 3)), (Scale("half", 0.5), Flatten("flat too"), Linear("other", 3))]
    nodes = list(Graph.chain((4,), [*before, layer]).nodes)
    for way in ways:
        source = layer.name
        for each in way:
            nodes.append(Node(each, (source,)))
            source = each.name
    nodes.append(Node(Add("last"), ("one", "other")))
    return Graph((Input(INPUT, (4,)),), tuple(nodes))


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    rng = np.random.default_rng(1)
    shapes: tuple[tuple[int, ...], ...] = ((5, 3, 4), (2, 5, 1), (3, 2, 7))
    for shape, dtype in zip(shapes, ("fp64", "fp32", "fp64"), strict=True):
        model = Model(around(LAYERS[name], shape), (CrossEntropy(outputs=("last",)),))
        batch = Batch({INPUT: rng.standard_normal((5, 4))}, {"label": rng.integers(0, 3, 5)})
        check(model, batch, dtype=dtype, together=2)  # type: ignore[arg-type]


SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "vectors": ((3,), (1,), (37,)),
    "images": ((5, 4, 3), (1, 1, 2), (30, 17, 2)),
}


def targets(loss: Loss, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Targets of five samples, some positions left out where that is possible."""
    if isinstance(loss, CrossEntropy) or (isinstance(loss, Dice) and not loss.binary):
        labels = rng.integers(0, shape[-1], (5, *shape[:-1]))
        return {"label": np.where(rng.random(labels.shape) < 0.2, -1, labels) if labels.ndim > 1 else labels}
    if isinstance(loss, BinaryCrossEntropy | Dice):
        return {"label": rng.uniform(-0.3, 1, (5, *shape))}
    return {"label": rng.standard_normal((5, *shape))}


LOSSES: dict[str, Loss] = {
    "cross-entropy": CrossEntropy(outputs=("out",)),
    "smoothed": CrossEntropy(outputs=("out",), label_smoothing=0.2, weight=0.7),
    "squares": MeanSquaredError(outputs=("out",)),
    "absolute": L1(outputs=("out",)),
    "smooth": SmoothL1(outputs=("out",), beta=0.3),
    "binary": BinaryCrossEntropy(outputs=("out",)),
    "weighted binary": BinaryCrossEntropy(outputs=("out",), positive_weight=2.5),
    "binary of probabilities": BinaryCrossEntropy(outputs=("probabilities",), logits=False),
    "dice": Dice(outputs=("out",)),
    "squared dice": Dice(outputs=("out",), squared=True, smooth=0.1),
    "binary dice": Dice(outputs=("out",), binary=True),
    "binary dice of probabilities": Dice(outputs=("probabilities",), binary=True, logits=False),
    "dice of probabilities": Dice(outputs=("probabilities",), logits=False),
}


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, kind: str) -> None:
    loss, rng = LOSSES[name], np.random.default_rng(2)
    for shape, dtype in zip(SHAPES[kind], ("fp64", "fp64", "fp32"), strict=True):
        layers = [Linear("first", int(np.prod(shape))), Reshape("out", shape), Sigmoid("probabilities")]
        model = Model(Graph.chain((4,), layers), (loss,))
        batch = Batch({INPUT: rng.standard_normal((5, 4))}, targets(loss, shape, rng))
        check(model, batch, dtype=dtype, together=3)  # type: ignore[arg-type]


@pytest.mark.numeric
def test_class_weights_and_two_losses_of_one_output() -> None:
    layers = [Linear("first", 24), Reshape("out", (2, 4, 3)), Softplus("rest")]
    losses = (
        CrossEntropy(outputs=("out",), class_weights=(1.0, 0.5, 3.0), label_smoothing=0.1),
        Dice(outputs=("out",), weight=0.5),
        MeanSquaredError(outputs=("rest",), target="image", weight=2.0),
    )
    rng = np.random.default_rng(3)
    batch = Batch(
        {INPUT: rng.standard_normal((4, 5))},
        {"label": rng.integers(-1, 3, (4, 2, 4)), "image": rng.standard_normal((4, 2, 4, 3))},
    )
    check(Model(Graph.chain((5,), layers), losses), batch, dtype="fp64", together=3)


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", pytest.param("fp32", marks=pytest.mark.slow)])
def test_a_variational_autoencoder(dtype: DTypeName) -> None:
    nodes = (
        Node(Linear("hidden", 9), (INPUT,)),
        Node(GELU("active"), ("hidden",)),
        Node(Linear("mean", 3), ("active",)),
        Node(Linear("spread", 3), ("active",)),
        Node(Reparameterise("code"), ("mean", "spread")),
        Node(Linear("pixels", 6), ("code",)),
        Node(Abs("image"), ("pixels",)),
    )
    losses = (
        BinaryCrossEntropy(outputs=("pixels",), target="image", weight=6.0),
        GaussianKL(outputs=("mean", "spread")),
    )
    rng = np.random.default_rng(4)
    images = rng.random((5, 6))
    model = Model(Graph((Input(INPUT, (6,)),), nodes), losses)
    check(model, Batch({INPUT: images}, {"image": images}), dtype=dtype, together=2)


def test_rows_of_long_samples() -> None:
    assert [row_length(each) for each in (1, 10, 256, 257, 512, 1000, 2 * 1009, 30_000)] == [
        1, 10, 256, 257, 256, 250, 2018, 250,
    ]  # fmt: skip
