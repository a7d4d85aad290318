"""A step of training small sequence models and autoencoders: a core group's tiles and the host agree."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import CoreGroupDevice, Device, HostDevice
from nnlib.layers.layer import Array, Run
from nnlib.model import Model
from nnlib.optim.adam import AdamW
from sim.machine.load import load_machine
from tests.nnlib.kernels.tiles import relative_error
from tests.nnlib.sequence_networks import SMALL, batch_of, weights_of

pytestmark = [pytest.mark.slow, pytest.mark.numeric]
TOLERANCE = 1e-9
RUN = Run(training=True, key=9, first_sample=4)
SAMPLES = 5
RATE = 1e-2


def step(device: Device, variables: dict[str, Array], model: Model) -> tuple[float, dict[str, Array]]:
    """The loss, and weights and statistics after one step of AdamW."""
    weights = np.random.default_rng(2).random(SAMPLES) + 0.5
    found = device.gradients(variables=variables, batch=batch_of(model, SAMPLES), weights=weights, run=RUN)
    parameters = {name: variables[name].copy() for name in model.graph.parameters}
    optimizer = AdamW(weight_decay=0.1)
    state = optimizer.initial_state(parameters)
    device.update(optimizer=optimizer, parameters=parameters, grads=found.parameters, state=state, rate=RATE)
    return found.loss, parameters | found.statistics


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_weights_after_a_step(name: str, recompute: bool) -> None:
    """With dropout where the network has it; where no samples mix, they are on two core groups."""
    model = SMALL[name](0.3)
    variables = weights_of(model)
    together = SAMPLES if model.graph.mixes_samples else 3
    processor = load_machine(DEFAULT_MACHINE).processor
    tiles = CoreGroupDevice(model, together, "fp64", processor, recompute=recompute)
    loss, after = step(tiles, variables, model)
    expected_loss, expected = step(HostDevice(model), variables, model)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE)
    assert after.keys() == expected.keys() == variables.keys()
    for variable, array in expected.items():
        assert np.any(array != variables[variable]), variable
        assert relative_error(after[variable], array) <= TOLERANCE, variable


@pytest.mark.parametrize("name", SMALL)
def test_outputs_in_inference(name: str) -> None:
    model = SMALL[name](0.3)
    variables = weights_of(model)
    inputs = batch_of(model, SAMPLES).inputs
    tiles = CoreGroupDevice(model, 3, "fp64", load_machine(DEFAULT_MACHINE).processor)
    found = tiles.outputs(variables=variables, inputs=inputs)
    expected = HostDevice(model).outputs(variables=variables, inputs=inputs)
    assert found.keys() == expected.keys() == set(model.graph.outputs)
    for output, array in expected.items():
        assert relative_error(found[output], array) <= TOLERANCE, output
