"""An operand that is the same for all samples: host, core group and slopes."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import ShapeError
from nnlib.layers.linear import Linear
from nnlib.layers.operand import Operand
from sim.machine.load import load_machine
from tests.nnlib.batches import classifier, labelled

OPERATIONS = ("add", "subtract", "multiply", "divide")
SHAPES = ((3,), (4, 1), (5, 4, 3), (1, 4, 1), ())


@pytest.mark.numeric
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_tiles_are_the_layers(operation: str, shape: tuple[int, ...], first: bool, samples: int) -> None:
    layers = [
        Conv2d("conv", 3, (1, 1)),
        Operand("operand", operation, shape, first),  # type: ignore[arg-type]
        Flatten("flatten"),
        Linear("fc", 3),
    ]
    model = classifier(Graph.chain((5, 4, 2), layers))
    rng = np.random.default_rng(5)
    variables = model.initialise(rng, np.dtype(np.float64))
    variables["operand.value"] = 1 + rng.random(shape)
    variables["conv.bias"] = np.full(3, 9.0)  # nothing is divided by a number near 0
    batch = labelled(rng.standard_normal((samples, *model.graph.shapes[INPUT])), rng.integers(0, 3, samples))
    tiles = CoreGroupDevice(model, samples, "fp64", load_machine(DEFAULT_MACHINE).processor)
    found, expected = (
        device.gradients(variables=variables, batch=batch, weights=np.ones(samples))
        for device in (tiles, HostDevice(model))
    )
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    for name, grad in expected.parameters.items():
        assert np.max(np.abs(found.parameters[name] - grad)) <= 1e-11 * np.max(np.abs(grad)), name


@pytest.mark.numeric
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_are_slopes(operation: str, first: bool) -> None:
    model = classifier(Graph.chain((4,), [Linear("a", 3), Operand("o", operation, (3,), first)]))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    variables = model.initialise(rng, np.dtype(np.float64))
    variables["o.value"] = 1 + rng.random(3)
    variables["a.bias"] = np.full(3, 5.0)
    batch = labelled(rng.standard_normal((6, 4)), rng.integers(0, 3, 6))
    device = HostDevice(model)

    def loss() -> float:
        return device.gradients(variables=variables, batch=batch, weights=np.ones(6)).loss

    grads = device.gradients(variables=variables, batch=batch, weights=np.ones(6)).parameters
    for name, array in variables.items():
        kept, step = array.flat[0], 1e-5
        array.flat[0] = kept + step
        above = loss()
        array.flat[0] = kept - step
        slope = (above - loss()) / (2 * step)
        array.flat[0] = kept
        assert grads[name].flat[0] == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def test_a_value_that_does_not_broadcast_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"'o' \(operand\).*\(3,\).*\(4,\)"):
        Graph.chain((4,), [Operand("o", "add", (3,))])
