"""Real networks in integers: near real numbers, and on a core group the same integers as on the host."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.graph import INPUT, Graph, Input, Node
from nnlib.layers.activation import ClippedReLU, ReLU, ReLU6, Tanh
from nnlib.layers.arrangement import Concatenate, Flatten
from nnlib.layers.average_pooling import AveragePool
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.layers.softmax import Softmax
from nnlib.precision.formats import IntegerName
from nnlib.quantised.folding import fold_batch_norms
from nnlib.quantised.network import quantise_network
from tests.nnlib.quantised.networks import NETWORKS, images_for, on_tiles, variables_of

pytestmark = pytest.mark.numeric

CHAINS: dict[str, Graph] = {
    "images": Graph.chain(
        (9, 8, 4),
        [
            BatchNorm("bn0"),
            Conv2d("grouped", 6, (3, 3), stride=2, padding=1, groups=2, bias=False),
            BatchNorm("bn1"),
            ReLU6("relu6"),
            Conv2d("depthwise", 6, (3, 2), groups=6),
            MaxPool("largest", 3, 1, padding=1),
            ClippedReLU("clip", 0.5),
            ConvTranspose2d("up", 5, (2, 3), (2, 3)),
            BatchNorm("bn2"),
            AveragePool("mean", 2, 2),
            Dropout("dropout", 0.5),
            GlobalMaxPool("top"),
            Linear("out", 3),
        ],
    ),
    "sequences": Graph.chain(
        (11, 4),
        [
            Conv1d("conv", 6, 3, padding=1),
            BatchNorm("bn"),
            ReLU("relu"),
            MaxPool1d("pool", 3, 2, padding=1),
            Linear("steps", 5, transposed=True),
            Tanh("tanh"),
            Flatten("flat"),
            Linear("last", 4),
            Softmax("softmax"),
        ],
    ),
    "paths": Graph(
        (Input(INPUT, (6, 6, 3)),),
        (
            Node(Conv2d("left", 4, (3, 3), padding=1), (INPUT,)),
            Node(ReLU("rectified"), ("left",)),
            Node(Conv2d("right", 4, (1, 1)), (INPUT,)),
            Node(Add("add"), ("rectified", "right", "left")),
            Node(ReLU("positive"), ("add",)),
            Node(Concatenate("joined"), ("positive", "rectified", INPUT)),
            Node(GlobalAveragePool("average"), ("joined",)),
            Node(Linear("out", 3), ("average",)),
        ),
        ("out", "joined"),
    ),
}


@pytest.mark.parametrize("storage", ["int8", "int16"])
@pytest.mark.parametrize("name", CHAINS)
def test_every_layer_in_integers(name: str, storage: IntegerName) -> None:
    graph = CHAINS[name]
    variables, sample = variables_of(graph), images_for(graph, 40)
    network = quantise_network(graph, variables, sample, storage=storage)
    assert network.real_layers == (("tanh", "flat", "softmax") if name == "sequences" else ())
    exact, found = graph.predict(variables, sample), network.outputs(sample)
    for output in graph.outputs:
        error = np.abs(found[output] - exact[output]).max() / np.abs(exact[output]).max()
        assert error < (0.1 if storage == "int8" else 0.01), output
    some = {each: 2 * array[:5] for each, array in sample.items()}
    before = network.tally.saturated
    host, (tiles, overflows, saturated) = network.outputs(some), on_tiles(network, some)
    for output in graph.outputs:
        assert np.array_equal(tiles[output], host[output]), output
    assert overflows == network.tally.overflows == 0
    assert saturated == network.tally.saturated - before > 0, "beyond what was calibrated on"


@pytest.mark.parametrize("name", [*CHAINS, "resnet18", "mobilenet_v2"])
def test_folding_normalisations_changes_nothing(name: str) -> None:
    graph = CHAINS[name] if name in CHAINS else NETWORKS[name]()
    variables, x = variables_of(graph), images_for(graph, 3)
    folded, own = fold_batch_norms(graph, variables)
    assert not any(isinstance(node.layer, BatchNorm) for node in folded.nodes)
    for output, exact in graph.predict(variables, x).items():
        assert np.abs(folded.predict(own, x)[output] - exact).max() <= 1e-12 * np.abs(exact).max()


LIMITS: dict[tuple[str, IntegerName], float] = {
    ("resnet18", "int8"): 0.05,
    ("mobilenet_v2", "int8"): 0.25,
    ("lenet5", "int8"): 0.05,
    ("unet", "int8"): 0.08,
    ("resnet18", "int16"): 0.01,
    ("mobilenet_v2", "int16"): 0.02,
    ("lenet5", "int16"): 0.01,
    ("unet", "int16"): 0.01,
}
"""Root mean square error over that of the exact outputs. A rounding to int8 errs by 1/127/√12 = 0.2 % of the largest
number, some 1 % of a usual one; n in a row by √n times as much: 20 layers 5 %. MobileNetV2 has 53, a third of them
with 9 products in a sum that average little out, and its outputs lie within a small part of what goes in."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "storage"), LIMITS)
def test_networks_in_integers(name: str, storage: IntegerName) -> None:
    graph = NETWORKS[name]()
    variables, sample = variables_of(graph), images_for(graph, 16)
    network = quantise_network(graph, variables, sample, storage=storage)
    assert network.real_layers == ()
    exact, found = graph.predict(variables, sample)[graph.output], network.outputs(sample)[graph.output]
    error = np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))
    assert error < LIMITS[name, storage]
    some = {each: array[:2] for each, array in sample.items()}
    before = network.tally.saturated
    host, (tiles, overflows, saturated) = network.outputs(some)[graph.output], on_tiles(network, some)
    assert np.array_equal(tiles[graph.output], host)
    assert overflows == network.tally.overflows == 0
    assert saturated == network.tally.saturated - before
