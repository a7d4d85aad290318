"""A step of training whole networks of images: a core group's tiles and the host agree."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import TRAINING, CoreGroupDevice, Device, HostDevice
from nnlib.layers.layer import Array
from nnlib.model import Model
from nnlib.optim.sgd import SGD
from sim.machine.load import load_machine
from tests.nnlib.image_networks import REDUCED, batch_of, weights_of
from tests.nnlib.kernels.tiles import relative_error

pytestmark = [pytest.mark.slow, pytest.mark.numeric]
TOLERANCE = 1e-9
SAMPLES = 2
RATE = 1e-2
NAMES = ("lenet5", "resnet18 small", "mobilenet_v2", "unet", "googlenet_bn")


def step(device: Device, variables: dict[str, Array], model: Model) -> tuple[float, dict[str, Array]]:
    """The loss, and weights and statistics after one step with momentum."""
    found = device.gradients(
        variables=variables, batch=batch_of(model, SAMPLES), weights=np.ones(SAMPLES), run=TRAINING
    )
    parameters = {name: variables[name].copy() for name in model.graph.parameters}
    optimizer = SGD(momentum=0.9, weight_decay=1e-4)
    state = optimizer.initial_state(parameters)
    device.update(optimizer=optimizer, parameters=parameters, grads=found.parameters, state=state, rate=RATE)
    return found.loss, parameters | found.statistics


@pytest.mark.parametrize("name", NAMES)
def test_weights_after_a_step(name: str) -> None:
    model = REDUCED[name]()
    variables = weights_of(model)
    tiles = CoreGroupDevice(model, SAMPLES, "fp64", load_machine(DEFAULT_MACHINE).processor)
    loss, after = step(tiles, variables, model)
    expected_loss, expected = step(HostDevice(model), variables, model)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE)
    assert after.keys() == expected.keys() == variables.keys()
    for variable, array in expected.items():
        assert relative_error(after[variable], array) <= TOLERANCE, variable
    assert any(np.any(array != variables[variable]) for variable, array in expected.items())
