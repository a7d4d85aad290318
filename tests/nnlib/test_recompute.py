"""Training that computes activations a second time instead of keeping them."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph
from nnlib.layers.activation import ReLU, Sigmoid, Tanh
from nnlib.layers.arrangement import Flatten
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add, Multiply
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, only_input
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.lowering import lower_gradients
from nnlib.model import Gradients, Model
from nnlib.models.network import Network
from nnlib.models.resnet import resnet18
from nnlib.models.transformer import gpt2
from nnlib.models.unet import unet
from nnlib.segments import kept_between, segments
from sim.machine.load import load_machine
from tests.nnlib.batches import classifier, labelled
from tests.nnlib.sequence_networks import batch_of, weights_of

DEEP = Graph.chain(
    (6, 6, 2),
    [
        *(layer for n in range(6) for layer in (Conv2d(f"c{n}", 8, (3, 3), padding=1), ReLU(f"r{n}"))),
        MaxPool("pool", (2, 2), 2),
        Flatten("flatten"),
        Linear("fc", 3),
    ],
)


def test_segments_are_all_nodes_in_order_and_about_root_n_many() -> None:
    parts = segments(DEEP)
    assert tuple(node for part in parts for node in part) == DEEP.nodes
    assert len(parts) == 3
    assert kept_between(DEEP, parts) == {part[-1].name for part in parts[:-1]}


@pytest.mark.numeric
@pytest.mark.parametrize("tiles", [False, True])
def test_gradients_are_the_same_numbers(tiles: bool) -> None:
    model = classifier(DEEP)
    rng = np.random.default_rng(1)
    variables = DEEP.initialise(rng, np.dtype(np.float64))
    batch = labelled(rng.standard_normal((4, *DEEP.shapes[INPUT])), rng.integers(0, 3, 4))
    processor = load_machine(DEFAULT_MACHINE).processor
    found = []
    for recompute in (False, True):
        host = HostDevice(model, recompute=recompute)
        device = CoreGroupDevice(model, 2, "fp64", processor, recompute=recompute) if tiles else host
        found.append(device.gradients(variables=variables, batch=batch, weights=np.ones(4)))
    assert found[0].loss == found[1].loss
    assert found[0].parameters.keys() == found[1].parameters.keys()
    for name, grad in found[0].parameters.items():
        np.testing.assert_array_equal(found[1].parameters[name], grad)


def test_memory_falls_and_each_layer_but_those_of_the_last_segment_is_launched_again() -> None:
    model = classifier(DEEP)
    plain, again = (lower_gradients(model=model, batch=4, dtype="fp64", recompute=each) for each in (False, True))
    assert again.memory_bytes < plain.memory_bytes
    forward = [launch.layer for launch in again.launches if launch.phase == "forward"]
    repeated = [launch.layer for launch in again.launches if launch.phase == "recompute"]
    last = {node.name for node in segments(DEEP)[-1]}
    assert sorted(repeated) == sorted(layer for layer in forward if layer not in last and layer != "loss")
    assert [launch for launch in plain.launches if launch.phase == "recompute"] == []


def dropping() -> Model:
    """Blocks with batch normalisation, dropout and a way around them."""
    network = Network((8, 8, 3))
    network.add(Conv2d("first", 6, (3, 3), padding=1))
    for number in range(4):
        source = network.last
        network.add(Conv2d(f"conv{number}", 6, (3, 3), padding=1, bias=False), BatchNorm(f"bn{number}"))
        network.add(ReLU(f"relu{number}"), Dropout(f"drop{number}", 0.4))
        network.join(Add(f"add{number}"), source, network.last)
    network.add(Flatten("flatten"), Linear("classes", 3))
    return classifier(network.graph())


BRANCHY: dict[str, Callable[[], Model]] = {
    "dropout and batch normalisation": dropping,
    "u-net": lambda: unet(image=(16, 16, 2), channels=4, depth=2),
    "resnet-18": lambda: resnet18(classes=4, image=(16, 16, 3), width=4, small=True),
    "gpt-2": lambda: gpt2(vocabulary=31, steps=8, positions=12, width=16, heads=2, layers=6, dropout=0.3),
}
RUN = Run(training=True, key=3, first_sample=5)


def gradients(model: Model, samples: int, *, recompute: bool, tiles: bool = False) -> Gradients:
    variables, batch = weights_of(model), batch_of(model, samples)
    device: CoreGroupDevice | HostDevice = HostDevice(model, recompute=recompute)
    if tiles:
        processor = load_machine(DEFAULT_MACHINE).processor
        device = CoreGroupDevice(model, samples, "fp64", processor, recompute=recompute)
    weights = np.random.default_rng(4).random(samples)
    return device.gradients(variables=variables, batch=batch, weights=weights, run=RUN)


@pytest.mark.numeric
@pytest.mark.parametrize("name", BRANCHY)
def test_branches_dropout_and_normalisation_change_nothing(name: str) -> None:
    """On the host, to the last bit: loss, gradients and statistics."""
    check_equal(*(gradients(BRANCHY[name](), 3, recompute=each) for each in (False, True)))


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("name", BRANCHY)
def test_branches_dropout_and_normalisation_change_nothing_on_tiles(name: str) -> None:
    check_equal(*(gradients(BRANCHY[name](), 2, recompute=each, tiles=True) for each in (False, True)))


def check_equal(found: Gradients, expected: Gradients) -> None:
    assert found.loss == expected.loss
    for one, other in ((found.parameters, expected.parameters), (found.statistics, expected.statistics)):
        assert one.keys() == other.keys()
        for name, array in other.items():
            np.testing.assert_array_equal(one[name], array, err_msg=name)
    assert all(np.any(grad) for grad in found.parameters.values())


@pytest.mark.parametrize("name", BRANCHY)
def test_the_high_water_mark_of_branchy_programs_falls(name: str) -> None:
    model = BRANCHY[name]()
    plain, again = (
        lower_gradients(model=model, batch=8, dtype="fp64", recompute=each).memory_bytes for each in (False, True)
    )
    assert again < 0.9 * plain


def host_peak(model: Model, samples: int, *, recompute: bool) -> int:
    """The most bytes that computing gradients takes at a time."""
    variables, batch, weights = weights_of(model), batch_of(model, samples), np.ones(samples)
    device = HostDevice(model, recompute=recompute)
    device.gradients(variables=variables, batch=batch, weights=weights, run=RUN)
    tracemalloc.start()
    device.gradients(variables=variables, batch=batch, weights=weights, run=RUN)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "u-net" else pytest.mark.slow) for name in BRANCHY]
)
def test_the_hosts_memory_falls(name: str) -> None:
    model = BRANCHY[name]()
    plain, again = (host_peak(model, 32, recompute=each) for each in (False, True))
    assert again < 0.8 * plain


def test_the_high_water_mark_of_branches_by_hand() -> None:
    """Two samples: input (4) to a (6), tanh(a)·sigmoid(a), and 3 classes."""
    network = Network((4,))
    source = network.add(Linear("a", 6))
    left, right = network.add(Tanh("left")), network.after(source).add(Sigmoid("right"))
    network.join(Multiply("product"), left, right)
    network.add(Linear("classes", 3, bias=False))
    program = lower_gradients(model=classifier(network.graph()), batch=2, dtype="fp64")
    assert [launch.layer for launch in program.launches] == [
        *("a", "a", "left", "right", "product", "classes", "loss"),
        *("classes", "classes", "product", "product", "right", "left", "left", "a", "a"),
    ]
    lives = {name: (each.first, each.last) for name, each in program.buffers.items() if each.role == "activation"}
    assert lives == {
        "a": (0, 3),  # neither gradient needs it: theirs is of the outputs
        "left": (2, 12),
        "right": (3, 11),
        "product": (4, 7),
        "classes": (5, 6),
        "loss:0": (6, 15),
        "grad:classes": (6, 8),
        "grad:product": (8, 10),
        "product.part0": (9, 12),
        "product.part1": (10, 11),
        "grad:a": (11, 13),
        "grad:a:2": (12, 13),
        "grad:a:3": (13, 15),
    }
    # always: input 8, parameters 24 + 6 + 18 and their gradients, labels and shares 2 each; at launch 10 left, right,
    # the gradient of their product and those that it parts into, 12 each, and the losses 2
    assert program.memory_bytes == (8 + 2 * 48 + 4 + 5 * 12 + 2) * 8


@dataclass(frozen=True)
class Watched(Layer):
    """Doubles its input, keeps an array for backward, and writes down what is still alive there."""

    log: list[tuple[str, set[str]]] = field(compare=False)
    alive: dict[str, weakref.ref[Any]] = field(compare=False)

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return only_input(self.name, input_shapes)

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        y, kept = 2 * inputs[0], inputs[0] + 1
        self.alive[f"y {self.name}"], self.alive[f"kept {self.name}"] = weakref.ref(y), weakref.ref(kept)
        return y, kept

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        self.log.append((self.name, {name for name, ref in self.alive.items() if ref() is not None}))
        grad = 2 * grad_output
        self.alive[f"grad {self.name}"] = weakref.ref(grad)
        return (grad,), {}


def watched() -> tuple[Model, list[tuple[str, set[str]]]]:
    log: list[tuple[str, set[str]]] = []
    alive: dict[str, weakref.ref[Any]] = {}
    network = Network((5,))
    network.add(Linear("first", 5), *(Watched(name, log, alive) for name in "abcdefgh"))
    return classifier(network.graph()), log


def test_backward_forgets_what_it_has_used() -> None:
    """Of later layers neither what they kept nor their gradients are alive, but the one that comes in; nor outputs."""
    model, log = watched()
    gradients(model, 4, recompute=False)
    names = "abcdefgh"
    assert log == [
        (name, {f"kept {each}" for each in names[: number + 1]} | {f"grad {each}" for each in names[number + 1 :][:1]})
        for number, name in reversed(list(enumerate(names)))
    ]


def test_recomputation_keeps_one_segment_and_what_goes_from_one_to_the_next() -> None:
    model, log = watched()
    gradients(model, 4, recompute=True)
    parts = segments(model.graph)
    segment = {node.name: number for number, part in enumerate(parts) for node in part}
    assert len(parts) == 3
    assert [name for name, _ in log] == list("hgfedcba")
    for name, alive in log:
        kept = {each.partition(" ")[2] for each in alive if each.startswith("kept")}
        outputs = {each.partition(" ")[2] for each in alive if each.startswith("y")}
        assert kept == {each for each in "abcdefgh" if segment[each] == segment[name] and each <= name}
        assert outputs == {part[-1].name for part in parts[: segment[name]]} - {"first"}


@pytest.mark.parametrize("recompute", [False, True])
def test_backward_needs_no_more_in_a_deeper_network(recompute: bool) -> None:
    """Beside what is kept of each layer and the parameters' gradients."""
    features, samples = 8, 1000

    def peak(depth: int) -> int:
        layers = [Linear(f"l{number}", features, bias=False) for number in range(depth)]
        return host_peak(classifier(Graph.chain((features,), layers)), samples, recompute=recompute)

    of_layer = samples * features * 8
    shallow, deep = peak(9), peak(36)
    if recompute:  # three and six segments of three and six layers
        assert deep - shallow < 9 * of_layer
    else:
        assert deep - shallow < 27.5 * of_layer
