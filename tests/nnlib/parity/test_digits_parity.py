"""One training step of the digits on one node against the same step in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nnlib.device import CoreGroupDevice, Device, HostDevice
from nnlib.graph import INPUT
from nnlib.optim.sgd import SGD
from nnlib.precision import DTYPES, DTypeName
from taihusim.setup import Setup, prepare
from taihusim.train import train
from taihusim.training_run import TrainRequest
from tests.nnlib.batches import labelled
from tests.nnlib.parity import Array, check_same, hwio, nchw, oihw
from workloads.datasets.dataset import LABEL
from workloads.datasets.load import load_dataset
from workloads.datasets.stream import SampleStream

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
SEED = 0
BATCH = 16
TOLERANCES: dict[DTypeName, float] = {"fp64": 1e-10, "fp32": 1e-4}


@dataclass(frozen=True)
class Step:
    """What goes into the first step, and PyTorch's loss, gradients and weights after it."""

    setup: Setup
    parameters: dict[str, Array]
    images: Array
    labels: np.ndarray
    loss: float
    grads: dict[str, Array]
    updated: dict[str, Array]


def first_step(precision: DTypeName, numerics: str) -> Step:
    """Seed 0, the recipe's optimiser and warm-up, computed in ``precision``."""
    setup = prepare(workload="digits", mapping_flags=[f"precision={precision}", f"numerics={numerics}"])
    assert setup.samples_per_node(1) == BATCH
    stream = SampleStream(load_dataset(setup.workload).train, SEED)
    batch = stream.batch(stream.next(BATCH).ids)
    images, labels = batch.inputs[INPUT].astype(DTYPES[precision]), batch.targets[LABEL]
    parameters = setup.graph.initialise(np.random.default_rng(SEED), DTYPES[precision])
    theirs = {
        name: torch.tensor(oihw(array) if array.ndim == 4 else array, requires_grad=True)
        for name, array in parameters.items()
    }
    recipe = setup.workload.recipe
    assert recipe.optimizer == SGD(momentum=0.9)
    # the first of thirty warm-up steps of a batch of 16, whose peak is 0.0125
    optimizer = torch.optim.SGD(list(theirs.values()), lr=0.0125 / 31, momentum=0.9)
    loss = F.cross_entropy(logits(theirs, torch.tensor(nchw(images))), torch.tensor(labels))
    loss.backward()
    grads = {name: back(tensor.grad.numpy()) for name, tensor in theirs.items()}
    optimizer.step()
    updated = {name: back(tensor.detach().numpy()) for name, tensor in theirs.items()}
    return Step(setup, parameters, images, labels, loss.item(), grads, updated)


def back(array: Array) -> Array:
    """A parameter in the layout it has here."""
    return hwio(array) if array.ndim == 4 else array


def logits(theirs: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network of the workload file, written once more."""
    for layer in ("conv2d1", "conv2d2"):
        x = F.conv2d(x, theirs[f"{layer}.weight"], theirs[f"{layer}.bias"], padding=1)
        x = F.max_pool2d(F.relu(x), 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    x = F.relu(x @ theirs["linear1.weight"] + theirs["linear1.bias"])
    return x @ theirs["linear2.weight"] + theirs["linear2.bias"]


def device(step: Step, precision: DTypeName, numerics: str) -> Device:
    if numerics == "layer":
        return HostDevice(step.setup.model)
    together = step.setup.core_group_batch(1)
    return CoreGroupDevice(step.setup.model, together, precision, step.setup.machine.processor)


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("numerics", ["layer", "tile"])
def test_loss_and_gradients_of_the_first_step(numerics: str, precision: DTypeName) -> None:
    step = first_step(precision, numerics)
    found = device(step, precision, numerics).gradients(
        variables=step.parameters,
        batch=labelled(step.images, step.labels),
        weights=np.ones(BATCH, dtype=DTYPES[precision]),
    )
    assert found.loss == pytest.approx(step.loss, rel=TOLERANCES[precision])
    grads = found.parameters
    assert grads.keys() == step.grads.keys()
    for name, grad in grads.items():
        check_same(grad, step.grads[name], name, tolerance=TOLERANCES[precision])


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("numerics", ["layer", "tile"])
def test_weights_after_one_step_of_training(numerics: str, precision: DTypeName) -> None:
    step = first_step(precision, numerics)
    (run,) = train(step.setup, TrainRequest(nodes=(1,), seed=SEED, epochs=BATCH / step.setup.workload.data.train_size))
    assert run.result["steps"] == 1
    assert run.result["global_batch"] == BATCH
    assert run.result["final_loss"] == pytest.approx(step.loss, rel=TOLERANCES[precision])
    assert run.parameters is not None
    assert run.parameters.keys() == step.updated.keys()
    for name, weight in run.parameters.items():
        before = step.parameters[name]
        check_same(weight, step.updated[name], name, tolerance=TOLERANCES[precision])
        # the step itself, which is far smaller than the weights; rounding is relative to those
        rounding = 4 * np.finfo(weight.dtype).eps * np.max(np.abs(before), initial=0.0)
        moved, expected = weight - before, step.updated[name] - before
        assert np.max(np.abs(moved - expected)) <= TOLERANCES[precision] * np.max(np.abs(expected)) + rounding, name
