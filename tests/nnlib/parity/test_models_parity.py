"""The library's models of images against networks of PyTorch's modules with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nnlib.device import HostDevice
from nnlib.layers.layer import INFERENCE, Run
from nnlib.model import Model
from nnlib.models.alexnet import alexnet
from nnlib.models.mobilenet import mobilenet_v2
from tests.nnlib.image_networks import CLASS_WEIGHTS, CLASSES, REDUCED, batch_of, weights_of
from tests.nnlib.parity import check_same

torch = pytest.importorskip("torch")
twins = pytest.importorskip("tests.nnlib.parity.image_twins")

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
TOLERANCE = 1e-9
ROUNDING = 1e-12
"""Gradients below this share of the largest one of the network are sums of rounding errors alone."""
TRAINING = Run(training=True, key=5, first_sample=3)
SAMPLES = 4


def resnet(
    counts: tuple[int, ...], *, width: int, bottleneck: bool = True, small: bool = False, version: int = 1
) -> Any:
    return twins.ResNet(counts, classes=CLASSES, width=width, bottleneck=bottleneck, small=small, version=version)


TWINS: dict[str, Callable[[], Any]] = {
    "lenet5": lambda: twins.LeNet5(),
    "alexnet": lambda: twins.AlexNet(classes=CLASSES, normalised=False, pixels=1),
    "alexnet_bn": lambda: twins.AlexNet(classes=CLASSES, normalised=True, pixels=1),
    "alexnet_one_tower": lambda: twins.OneTower(classes=CLASSES),
    "vgg16": lambda: twins.Vgg(twins.Vgg.D, classes=CLASSES),
    "vgg19": lambda: twins.Vgg(twins.Vgg.E, classes=CLASSES),
    "googlenet": lambda: twins.GoogLeNet(classes=CLASSES, normalised=False),
    "googlenet_bn": lambda: twins.GoogLeNet(classes=CLASSES, normalised=True),
    "resnet18": lambda: resnet((2, 2, 2, 2), width=8, bottleneck=False),
    "resnet18 small": lambda: resnet((2, 2, 2, 2), width=8, bottleneck=False, small=True),
    "resnet50": lambda: resnet((3, 4, 6, 3), width=8),
    "resnet50 3x3": lambda: resnet((3, 4, 6, 3), width=8, version=2),
    "resnet101": lambda: resnet((3, 4, 23, 3), width=4),
    "mobilenet_v2": lambda: twins.MobileNetV2(classes=CLASSES, first=16, channels=(8, 8, 16, 24, 32, 56, 112)),
    "unet": lambda: twins.UNet(inside=4, channels=4, depth=3, class_weights=CLASS_WEIGHTS),
    "deeplab": lambda: twins.DeepLab(inside=4, width=8, pyramid=12, class_weights=CLASS_WEIGHTS),
}


def pair(model: Model, twin: Any) -> tuple[dict[str, np.ndarray], Any]:
    """The same weights for both."""
    variables = weights_of(model)
    twin.double().load(variables)
    return variables, twin


def check_outputs(model: Model, twin: Any, *, samples: int, training: bool) -> None:
    variables, twin = pair(model, twin)
    inputs = batch_of(model, samples).inputs
    found = model.graph.forward(variables, inputs, run=TRAINING if training else INFERENCE).outputs
    with torch.no_grad():
        expected = twin.train(training)({name: torch.tensor(array) for name, array in inputs.items()})
    assert set(model.graph.outputs) <= expected.keys() == {name for loss in model.losses for name in loss.outputs}
    for name in model.graph.outputs:
        check_same(found[name], expected[name].numpy(), name, tolerance=TOLERANCE)


@pytest.mark.parametrize("name", REDUCED)
def test_outputs_in_inference(name: str) -> None:
    check_outputs(REDUCED[name](), TWINS[name](), samples=2, training=False)


@pytest.mark.slow
def test_mobilenet_at_full_size() -> None:
    """Below 1 GFLOP for an image, in training and in inference."""
    for training in (False, True):
        twin = twins.MobileNetV2(classes=1000, first=32, channels=(16, 24, 32, 64, 96, 160, 320))
        check_outputs(mobilenet_v2(dropout=0.0), twin, samples=2, training=training)


@pytest.mark.slow
def test_alexnet_at_full_size() -> None:
    """Overlapping windows and both towers as in the paper."""
    check_outputs(alexnet(), twins.AlexNet(classes=1000, normalised=False, pixels=36), samples=1, training=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", REDUCED)
def test_a_step_of_training(name: str) -> None:
    """Outputs, loss, all gradients and statistics in training, for samples of different weights."""
    model = REDUCED[name]()
    variables, twin = pair(model, TWINS[name]())
    batch = batch_of(model, SAMPLES)
    weights = np.random.default_rng(2).random(SAMPLES) + 0.5
    run = model.graph.forward(variables, batch.inputs, run=TRAINING).outputs
    found = HostDevice(model).gradients(variables=variables, batch=batch, weights=weights, run=TRAINING)
    outputs = twin.train()({each: torch.tensor(array) for each, array in batch.inputs.items()})
    losses = twin.losses(outputs, {each: torch.tensor(array) for each, array in batch.targets.items()})
    loss = (losses * torch.tensor(weights / weights.sum())).sum()
    loss.backward()
    for output in model.graph.outputs:
        check_same(run[output], outputs[output].detach().numpy(), output, tolerance=TOLERANCE)
    assert found.loss == pytest.approx(loss.item(), rel=TOLERANCE)
    grads, after = twin.grads(), twin.values()
    assert found.parameters.keys() == grads.keys()
    # a shift that the next normalisation takes away again has a gradient that is nothing but rounding
    rounding = ROUNDING * max(float(np.max(np.abs(grad))) for grad in grads.values())
    for parameter, grad in grads.items():
        if np.max(np.abs(grad)) <= rounding:
            assert np.max(np.abs(found.parameters[parameter])) <= rounding, parameter
        else:
            check_same(found.parameters[parameter], grad, parameter, tolerance=TOLERANCE)
        assert np.any(grad), parameter
    assert found.statistics.keys() == after.keys() - grads.keys()
    for statistic, array in found.statistics.items():
        check_same(array, after[statistic], statistic, tolerance=TOLERANCE)
