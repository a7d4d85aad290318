"""Imported networks on a core group: every operator's layers in tiles against whole layers, answers and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.importers.onnx import load_onnx
from nnlib.losses.regression import MeanSquaredError
from nnlib.model import Model
from sim.machine.load import load_machine
from tests.nnlib.importers.graphs import model, samples, saved
from tests.nnlib.importers.operators import CASES

pytestmark = [pytest.mark.numeric, pytest.mark.slow]
TOLERANCE = 1e-12


@pytest.mark.parametrize("name", CASES)
def test_operator_on_tiles(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    shapes = {key: ("N", *shape) for key, shape in case.inputs.items()}
    proto = model(case.nodes, shapes, case.weights, outputs=case.outputs, opset=case.opset, integers=case.integers)
    found = load_onnx(saved(tmp_path, proto))
    rng = np.random.default_rng(0)
    inputs = {
        key: array if array.dtype.kind == "i" else (np.abs(array) + 0.5 if case.positive else array).astype(np.float64)
        for key, array in samples(proto, rng).items()
    }
    variables = {key: array.astype(np.float64) for key, array in found.variables.items()}
    losses = tuple(MeanSquaredError(outputs=(each,), target=each) for each in found.outputs.values())
    network = Model(found.graph, losses)
    count = len(next(iter(inputs.values())))
    host, tiles = HostDevice(network), CoreGroupDevice(network, count, "fp64", load_machine(DEFAULT_MACHINE).processor)
    ours, theirs = (device.outputs(variables=variables, inputs=inputs) for device in (tiles, host))
    for key, expected in theirs.items():
        check(ours[key], expected, key)
    targets = {key: rng.normal(size=array.shape) for key, array in theirs.items()}
    batch, weights = Batch(inputs=inputs, targets=targets), np.ones(count)
    first, second = (device.gradients(variables=variables, batch=batch, weights=weights) for device in (tiles, host))
    assert first.loss == pytest.approx(second.loss, rel=TOLERANCE)
    for key, expected in second.parameters.items():
        check(first.parameters[key], expected, key)


def check(found: np.ndarray, expected: np.ndarray, key: str) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max(), key
