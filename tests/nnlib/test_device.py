"""The tile programs of a core group against whole layers on the host."""

from __future__ import annotations

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Array
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import Clip, ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine
from tests.nnlib.batches import classifier, labelled
from workloads.load import load_workload

TOLERANCE: dict[DTypeName, float] = {"fp64": 1e-12, "fp32": 1e-4}
precisions = pytest.mark.parametrize("dtype", TOLERANCE)


@pytest.fixture(scope="module")
def digits() -> Graph:
    return load_workload("digits").model.built.graph


def devices(graph: Graph, batch: int, dtype: DTypeName) -> tuple[CoreGroupDevice, HostDevice]:
    """A core group of the default machine for ``batch`` samples at a time, and the host."""
    model = classifier(graph)
    return CoreGroupDevice(model, batch, dtype, load_machine(DEFAULT_MACHINE).processor), HostDevice(model)


def batch_for(graph: Graph, samples: int, dtype: DTypeName) -> tuple[dict[str, Array], Array, np.ndarray]:
    """Parameters with biases that are not zero, images and labels."""
    rng = np.random.default_rng(2)
    parameters = graph.initialise(rng, np.dtype(np.float64))
    for array in parameters.values():
        array += 0.05 * rng.standard_normal(array.shape)
    images = rng.random((samples, *graph.shapes[INPUT]))
    labels = rng.integers(0, graph.output_shape[0], samples)
    number = DTYPES[dtype]
    return {name: array.astype(number) for name, array in parameters.items()}, images.astype(number), labels


def check_same(found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> None:
    """Same names, dtypes and shapes; the largest difference relative to the largest number of each tensor."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert np.max(np.abs(found[name] - array)) <= tolerance * np.max(np.abs(array)), name


def check_gradients(graph: Graph, *, batch: int, samples: int, dtype: DTypeName, weighted: bool) -> None:
    tiles, host = devices(graph, batch, dtype)
    parameters, images, labels = batch_for(graph, samples, dtype)
    kept = {name: array.copy() for name, array in parameters.items()}
    counts = np.random.default_rng(3).integers(1, 5, samples) if weighted else np.ones(samples)
    weights = counts.astype(DTYPES[dtype])
    batch_of = labelled(images, labels)
    found = tiles.gradients(variables=parameters, batch=batch_of, weights=weights)
    expected = host.gradients(variables=parameters, batch=batch_of, weights=weights)
    assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE[dtype])
    check_same(found.parameters, expected.parameters, TOLERANCE[dtype])
    for name, array in parameters.items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.numeric
@precisions
def test_tiles_give_the_gradients_of_the_layers(digits: Graph, dtype: DTypeName) -> None:
    check_gradients(digits, batch=4, samples=4, dtype=dtype, weighted=False)


@pytest.mark.numeric
@precisions
@pytest.mark.parametrize("samples", [1, 3, 5, 8])
def test_gradients_of_batches_that_do_not_fit_the_lowered_size(digits: Graph, samples: int, dtype: DTypeName) -> None:
    check_gradients(digits, batch=4, samples=samples, dtype=dtype, weighted=True)


@pytest.mark.numeric
@precisions
@pytest.mark.parametrize("samples", [1, 4, 7])
def test_logits(digits: Graph, samples: int, dtype: DTypeName) -> None:
    tiles, host = devices(digits, 4, dtype)
    parameters, images, _ = batch_for(digits, samples, dtype)
    found = tiles.outputs(variables=parameters, inputs={INPUT: images})
    check_same(found, host.outputs(variables=parameters, inputs={INPUT: images}), TOLERANCE[dtype])


RAGGED = {
    "strides_and_overlap": [
        Conv2d("c", 5, (2, 3), stride=2, padding=1),
        ReLU("r"),
        MaxPool("p", (2, 2), 1),
        Flatten("f"),
        Linear("l", 3),
    ],
    "no_bias": [Conv2d("c", 3, (3, 3), bias=False), MaxPool("p", (3, 2), 2), Flatten("f"), Linear("l", 4, bias=False)],
    "flat_first": [Flatten("f"), Linear("a", 7), ReLU("r"), Linear("b", 3)],
    "pool_first": [MaxPool("p", (2, 2), 2), ReLU("r"), Flatten("f"), Flatten("g"), Linear("b", 3)],
    "relu_last": [Flatten("f"), Linear("a", 7), ReLU("r")],
    "flat_last": [Conv2d("c", 3, (7, 9)), Flatten("f")],
}


@pytest.mark.numeric
@pytest.mark.parametrize("layers", RAGGED)
def test_other_graphs(layers: str) -> None:
    graph = Graph.chain((7, 9, 2), RAGGED[layers])
    check_gradients(graph, batch=3, samples=5, dtype="fp64", weighted=True)
    tiles, host = devices(graph, 3, "fp64")
    parameters, images, _ = batch_for(graph, 5, "fp64")
    found = tiles.outputs(variables=parameters, inputs={INPUT: images})
    check_same(found, host.outputs(variables=parameters, inputs={INPUT: images}), 1e-12)


@pytest.mark.numeric
@precisions
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(),
        SGD(momentum=0.9, weight_decay=0.01),
        SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
        LARS(momentum=0.8, weight_decay=0.01, trust=0.02),
        Adam(weight_decay=0.01),
        AdamW(weight_decay=0.1, decay_vectors=False),
        LAMB(weight_decay=0.1),
    ],
    ids=["sgd", "momentum", "nesterov", "lars", "adam", "adamw", "lamb"],
)
def test_tiles_update_like_the_optimiser(digits: Graph, optimizer: Optimizer, dtype: DTypeName) -> None:
    tiles, host = devices(digits, 4, dtype)
    rng = np.random.default_rng(8)
    (found, _, _), (expected, _, _) = (batch_for(digits, 1, dtype) for _ in range(2))
    found_state, expected_state = optimizer.initial_state(found), optimizer.initial_state(expected)
    for rate in (0.1, 0.02, 0.3):
        grads = {name: rng.standard_normal(array.shape).astype(DTYPES[dtype]) for name, array in found.items()}
        tiles.update(optimizer=optimizer, parameters=found, grads=grads, state=found_state, rate=rate)
        host.update(optimizer=optimizer, parameters=expected, grads=grads, state=expected_state, rate=rate)
    check_same(found, expected, TOLERANCE[dtype])
    check_same(found_state, expected_state, TOLERANCE[dtype])


@pytest.mark.numeric
@precisions
@pytest.mark.parametrize("clip", [ClipByNorm(0.3), ClipByNorm(1e6), ClipByValue(0.2)], ids=["norm", "far", "value"])
def test_tiles_clip_like_the_host(digits: Graph, clip: Clip, dtype: DTypeName) -> None:
    tiles, host = devices(digits, 4, dtype)
    found, expected = batch_for(digits, 1, dtype)[0], batch_for(digits, 1, dtype)[0]
    kept = {name: array.copy() for name, array in found.items()}
    tiles.clip(clip=clip, grads=found)
    host.clip(clip=clip, grads=expected)
    check_same(found, expected, TOLERANCE[dtype])
    changed = any(not np.array_equal(found[name], array) for name, array in kept.items())
    assert changed == (clip.limit < 1)


@pytest.mark.parametrize("which", [0, 1], ids=["tiles", "host"])
def test_an_empty_batch_is_refused(digits: Graph, which: int) -> None:
    device = devices(digits, 2, "fp64")[which]
    parameters, images, labels = batch_for(digits, 0, "fp64")
    with pytest.raises(ValueError, match="empty batch"):
        device.gradients(variables=parameters, batch=labelled(images, labels), weights=np.ones(0))
