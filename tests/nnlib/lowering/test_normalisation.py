"""Normalisation: the core group's tiles against whole layers, in training and in inference.

Each layer stands in the middle of a network, so that its input gradients are needed, and its input has another use.
"""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.group_normalisation import GroupNorm, LayerNorm, RMSNorm
from nnlib.layers.layer import Layer, Shape
from nnlib.layers.linear import Linear
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.lowering import lower_forward, lower_gradients
from nnlib.model import Model
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine
from tests.nnlib.test_device import check_same

CLASSES = 3
TOLERANCE: dict[DTypeName, float] = {"fp64": 1e-12, "fp32": 1e-4}
LAYERS: list[Layer] = [
    BatchNorm("x"),
    BatchNorm("x", 1e-3, 0.3, affine=False),
    LayerNorm("x"),
    LayerNorm("x", 2, 1e-3),
    LayerNorm("x", affine=False),
    RMSNorm("x"),
    RMSNorm("x", 2, affine=False),
    GroupNorm("x", 2),
    GroupNorm("x", 6, 1e-3),
    GroupNorm("x", 1, affine=False),
    LocalResponseNorm("x", 5, 0.3),
    LocalResponseNorm("x", 2, 1.0, 0.5, 2.0),
]
SHAPES: dict[str, Shape] = {"images": (7, 6, 2), "sequences": (9, 4), "vectors": (11,)}


def network(layer: Layer, shape: Shape) -> Model:
    """A layer before it, the layer, and classes from it and from what came into it."""
    first: Layer = Linear("first", 6)
    if len(shape) > 1:
        first = Conv2d("first", 6, (3, 3), padding=1) if len(shape) == 3 else Conv1d("first", 6, 3, padding=1)
    nodes = (
        Node(first, ("input",)),
        Node(layer, ("first",)),
        Node(ReLU("relu"), ("x",)),
        Node(Flatten("flat"), ("relu",)),
        Node(Linear("head", CLASSES), ("flat",)),
        Node(Flatten("aside"), ("first",)),
        Node(Linear("head_aside", CLASSES), ("aside",)),
        Node(Add("both"), ("head", "head_aside")),
    )
    return Model(Graph((Input("input", shape),), nodes), (CrossEntropy(outputs=("both",)),))


def check(model: Model, *, dtype: DTypeName, samples: int = 7, together: int = 4, recompute: bool = False) -> None:
    """Gradients, statistics and inference of two batches are the host's, which has the same batches."""
    rng = np.random.default_rng(4)
    number = DTYPES[dtype]
    variables = {
        name: (array + 0.05 * np.abs(rng.standard_normal(array.shape))).astype(number)
        for name, array in model.graph.initialise(rng, np.dtype(np.float64)).items()
    }
    inputs = {each.name: rng.standard_normal((samples, *each.shape)).astype(number) for each in model.graph.inputs}
    batch = Batch(inputs=inputs, targets={"label": rng.integers(0, CLASSES, samples)})
    processor = load_machine(DEFAULT_MACHINE).processor
    tiles = CoreGroupDevice(model, together, dtype, processor, recompute=recompute)
    host = HostDevice(model, together=together)
    weights = rng.integers(1, 4, samples).astype(number)
    found = tiles.gradients(variables=variables, batch=batch, weights=weights)
    expected = host.gradients(variables=variables, batch=batch, weights=weights)
    assert abs(found.loss - expected.loss) <= TOLERANCE[dtype] * abs(expected.loss)
    # a bias before a normalisation changes nothing: its gradient is what rounding leaves
    cancelled = {"first.bias"} & {name for name, grad in expected.parameters.items() if np.max(np.abs(grad)) < 1e-6}
    for grads in (found.parameters, expected.parameters):
        for name in cancelled:
            del grads[name]
    check_same(found.parameters, expected.parameters, TOLERANCE[dtype])
    assert expected.statistics.keys() == model.graph.statistics.keys()
    check_same(found.statistics, expected.statistics, TOLERANCE[dtype])
    outputs = host.outputs(variables=variables, inputs=inputs)
    check_same(tiles.outputs(variables=variables, inputs=inputs), outputs, TOLERANCE[dtype])


def described(layer: Layer) -> str:
    return repr(layer).replace("name='x', ", "")


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [(layer, name) for layer in LAYERS for name in SHAPES if getattr(layer, "axes", 1) <= len(SHAPES[name])],
    ids=lambda each: each if isinstance(each, str) else described(each),
)
def test_tiles_are_layers(layer: Layer, shape: str, dtype: DTypeName) -> None:
    check(network(layer, SHAPES[shape]), dtype=dtype)


@pytest.mark.numeric
@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[2], LAYERS[7], LAYERS[10]], ids=described)
def test_tiles_are_layers_on_vectors(layer: Layer) -> None:
    check(network(layer, SHAPES["vectors"]), dtype="fp64")


@pytest.mark.numeric
@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[7]], ids=described)
def test_activations_computed_again_are_the_same(layer: Layer) -> None:
    """The statistics of a batch are those of its first forward pass, and not taken twice."""
    check(network(layer, SHAPES["sequences"]), dtype="fp64", recompute=True)


def test_frozen_scales_have_no_gradient_and_a_first_layer_needs_none_of_its_input() -> None:
    nodes = (
        Node(BatchNorm("bn"), ("input",), frozen=("scale",)),
        Node(Linear("head", CLASSES), ("bn",)),
    )
    model = Model(Graph((Input("input", (5,)),), nodes), (CrossEntropy(outputs=("head",)),))
    check_frozen = lower_gradients(model=model, batch=4, dtype="fp64")
    assert "grad:bn.scale" not in check_frozen.buffers
    assert "grad:bn.shift" in check_frozen.buffers
    assert not any(launch.kernel.name == "batch_normalisation_gradient" for launch in check_frozen.launches)


def test_inference_takes_no_statistics_and_training_more_than_one_number() -> None:
    model = network(BatchNorm("x"), (11,))
    program = lower_forward(graph=model.graph, batch=4, dtype="fp64")
    kernels = [launch.kernel for launch in program.launches if launch.layer == "x"]
    assert [kernel.name for kernel in kernels] == ["fold_statistics", "scale_shift"]
    assert not any(isinstance(kernel, BatchStatistics) for kernel in kernels)
    with pytest.raises(ValueError, match="more than 1 numbers per channel"):
        lower_gradients(model=model, batch=1, dtype="fp64")
