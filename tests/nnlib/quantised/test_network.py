"""Inference in integers: close to real numbers after calibration, and the same on a core group, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.device import Loaded
from nnlib.graph import INPUT, Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import INFERENCE, Array, Layer
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.precision.calibration import Calibration
from nnlib.precision.formats import IntegerName
from nnlib.quantised.forms import fused_relus
from nnlib.quantised.lower import integer_parameters, lower_integer
from nnlib.quantised.network import IntegerNetwork, quantise_network
from sim.machine.load import load_machine
from tests.nnlib.quantised.networks import on_tiles

pytestmark = pytest.mark.numeric


def small() -> Graph:
    layers: list[Layer] = [
        Conv2d("conv1", 5, (3, 3), padding=1),
        ReLU("relu1"),
        MaxPool("pool1", (2, 2), 2),
        Conv2d("conv2", 7, (3, 2), stride=2, bias=False),
        Flatten("flatten"),
        Linear("hidden", 9),
        ReLU("relu2"),
        Linear("out", 4),
    ]
    return Graph.chain((9, 8, 3), layers)


def variables_of(graph: Graph, *, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    found = graph.initialise(rng, np.dtype(np.float64))
    return {name: array + 0.1 * rng.standard_normal(array.shape) for name, array in found.items()}


def images(count: int, *, seed: int = 1) -> Array:
    return np.random.default_rng(seed).uniform(-0.2, 1, (count, 9, 8, 3))


def calibrated(storage: IntegerName = "int8", **options: bool) -> IntegerNetwork:
    graph = small()
    return quantise_network(graph, variables_of(graph), {INPUT: images(64)}, storage=storage, **options)


def error(network: IntegerNetwork) -> float:
    """On the sample of the calibration, on which nothing saturates."""
    x = images(64)
    exact = network.graph.predict(network.variables, {INPUT: x})["out"]
    return float(np.abs(network.outputs({INPUT: x})["out"] - exact).max() / np.abs(exact).max())


def test_a_product_takes_the_relu_behind_it_along() -> None:
    assert fused_relus(small()) == {"conv1": "relu1", "hidden": "relu2"}
    network = calibrated()
    assert [name for name, product in network.products.items() if product.ending.relu] == ["conv1", "hidden"]
    assert network.products["conv1"].weight.dtype == np.int8
    assert network.steps["relu1"] == network.steps["conv1"] == network.steps["pool1"]


def test_results_are_close_and_closer_with_more_bits_and_steps_of_channels() -> None:
    by_channel, by_tensor, wide = calibrated(), calibrated(per_channel=False), calibrated("int16")
    assert error(by_channel) < 0.05
    assert error(wide) < 1e-3
    assert error(by_channel) < 1.5 * error(by_tensor)
    assert by_channel.tally.overflows == wide.tally.overflows == 0
    assert by_channel.tally.rounded > 0


def test_by_hand() -> None:
    """x = (0.5, -1), steps 1/127 and 2/127: q = (64, -127), weights (127, 64): 64·127 - 127·64 = 0 plus the bias."""
    graph = Graph.chain((2,), [Linear("out", 1)])
    variables = {"out.weight": np.array([[2.0], [1.0]]), "out.bias": np.array([0.25])}
    network = quantise_network(graph, variables, {INPUT: np.array([[0.5, -1.0]])})
    found = network.outputs({INPUT: np.array([[0.5, -1.0]])})["out"]
    assert network.products["out"].weight.tolist() == [[127], [64]]
    step = 0.25 / 127
    assert network.steps["out"] == pytest.approx(step)
    bias = round(0.25 / (1 / 127 * 2 / 127))
    assert found[0, 0] == pytest.approx(step * round(bias * (2 / 127**2) / step))


def test_other_layers_work_on_real_numbers() -> None:
    from nnlib.layers.activation import Sigmoid

    graph = Graph.chain((3,), [Linear("one", 5), Sigmoid("sigmoid"), Linear("two", 2)])
    variables = variables_of(graph)
    x = np.random.default_rng(3).standard_normal((40, 3))
    network = quantise_network(graph, variables, {INPUT: x})
    exact = graph.predict(variables, {INPUT: x})["two"]
    assert np.abs(network.outputs({INPUT: x})["two"] - exact).max() < 0.03 * np.abs(exact).max()
    assert network.real_layers == ("sigmoid",)
    found, _, _ = on_tiles(network, {INPUT: x[:3]})
    assert np.array_equal(found["two"], network.outputs({INPUT: x[:3]})["two"])


def test_calibration_methods_give_other_steps() -> None:
    graph, sample = small(), images(64)
    sample[0, 0, 0, 0] = 30
    steps = {
        method: quantise_network(
            graph, variables_of(graph), {INPUT: sample}, calibration=Calibration(method=method)
        ).steps[INPUT]
        for method in ("max", "percentile", "mse")
    }
    assert steps["max"] == 30 / 127
    assert steps["percentile"] < steps["mse"] < steps["max"]


@pytest.mark.parametrize("storage", ["int8", "int16"])
@pytest.mark.parametrize("batch", [1, 6])
def test_a_core_group_computes_the_same_integers(storage: IntegerName, batch: int) -> None:
    network = calibrated(storage)
    program = lower_integer(network, batch=batch)
    x = images(batch, seed=5)
    arrays = Loaded(program, integer_parameters(network), load_machine("sunway_taihulight").processor).run(
        {INPUT: x}, INFERENCE
    )
    before = network.tally.saturated
    expected = network.outputs({INPUT: x})["out"]
    assert np.array_equal(arrays["out"], expected)
    counted = sum(int(array[-1]) for name, array in arrays.items() if name.endswith(".saturated"))
    assert counted == network.tally.saturated - before


def test_integers_take_less_memory_than_real_numbers() -> None:
    from nnlib.lowering import lower_forward

    double = lower_forward(graph=small(), batch=64, dtype="fp64").memory_bytes
    assert lower_integer(calibrated(), batch=64).memory_bytes < double / 3
    assert lower_integer(calibrated("int16"), batch=64).memory_bytes < double / 2
