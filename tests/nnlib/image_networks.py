"""Small networks of the library's models of images, with weights and batches to train them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from nnlib.batch import Batch
from nnlib.graph import INPUT
from nnlib.layers.layer import Array
from nnlib.model import Model
from nnlib.models.alexnet import alexnet, alexnet_bn, alexnet_one_tower
from nnlib.models.deeplab import deeplab
from nnlib.models.googlenet import googlenet, googlenet_bn
from nnlib.models.lenet import lenet5
from nnlib.models.mobilenet import mobilenet_v2
from nnlib.models.resnet import resnet18, resnet50, resnet101
from nnlib.models.unet import unet
from nnlib.models.vgg import vgg16, vgg19
from tests.nnlib.batches import LABEL

CLASSES: Final = 7
CLASS_WEIGHTS: Final = (0.5, 1.5, 4.0)

REDUCED: Final[Mapping[str, Callable[[], Model]]] = {
    "lenet5": lambda: lenet5(),
    "alexnet": lambda: alexnet(classes=CLASSES, image=(67, 67, 3), dropout=0.0),
    "alexnet_bn": lambda: alexnet_bn(classes=CLASSES, image=(67, 67, 3), dropout=0.0),
    "alexnet_one_tower": lambda: alexnet_one_tower(classes=CLASSES, image=(127, 95, 3), dropout=0.0),
    "vgg16": lambda: vgg16(classes=CLASSES, image=(32, 32, 3), dropout=0.0),
    "vgg19": lambda: vgg19(classes=CLASSES, image=(32, 32, 3), dropout=0.0),
    "googlenet": lambda: googlenet(classes=CLASSES, image=(96, 80, 3), dropout=0.0, auxiliary_dropout=0.0),
    "googlenet_bn": lambda: googlenet_bn(classes=CLASSES, image=(64, 96, 3), dropout=0.0),
    "resnet18": lambda: resnet18(classes=CLASSES, image=(64, 96, 3), width=8),
    "resnet18 small": lambda: resnet18(classes=CLASSES, image=(32, 32, 3), width=8, small=True),
    "resnet50": lambda: resnet50(classes=CLASSES, image=(64, 96, 3), width=8),
    "resnet50 3x3": lambda: resnet50(classes=CLASSES, image=(64, 96, 3), width=8, stride_in="3x3"),
    "resnet101": lambda: resnet101(classes=CLASSES, image=(64, 64, 3), width=4),
    "mobilenet_v2": lambda: mobilenet_v2(classes=CLASSES, image=(64, 96, 3), width=0.35, dropout=0.0),
    "unet": lambda: unet(image=(32, 48, 4), channels=4, depth=3, class_weights=CLASS_WEIGHTS),
    "deeplab": lambda: deeplab(image=(64, 96, 4), width=8, pyramid=12, class_weights=CLASS_WEIGHTS),
}
"""All of them without dropout, narrow or for small images, but whole in all else."""


def weights_of(model: Model, seed: int = 0) -> dict[str, Array]:
    """Initial weights in double precision; what begins as 0 or 1 is random, too."""
    rng = np.random.default_rng(seed)
    variables = model.initialise(rng, np.dtype(np.float64))
    for name, array in variables.items():
        if not name.endswith(".weight"):
            array += 0.2 * rng.standard_normal(array.shape) if array.max() == 0 else rng.random(array.shape) - 0.5
    return variables


def batch_of(model: Model, samples: int, seed: int = 1) -> Batch:
    """Random images and classes."""
    rng = np.random.default_rng(seed)
    classes = model.graph.shapes[model.graph.outputs[0]][-1]
    return Batch(
        inputs={INPUT: rng.standard_normal((samples, *model.graph.inputs[0].shape))},
        targets={LABEL: rng.integers(0, classes, (samples, *model.targets[LABEL]))},
    )
