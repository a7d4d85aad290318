"""Graphs: what is refused, what is counted, and gradients through branches and repeated samples."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.device import HostDevice
from nnlib.graph import INPUT, Graph, Input, Node
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.layers.linear import Linear
from tests.nnlib.batches import classifier, labelled
from workloads.load import load_workload

FP64 = np.dtype(np.float64)


@dataclass(frozen=True)
class Add(Layer):
    """The sum of all inputs: a layer that merges branches."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return input_shapes[0]

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        return np.sum(inputs, axis=0), None

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        return (grad_output,) * len(needs), {}


def loss_and_gradients(
    graph: Graph, parameters: dict[str, Array], images: Array, labels: np.ndarray, weights: Array | None = None
) -> tuple[float, dict[str, Array]]:
    """Mean cross-entropy and its gradients."""
    counts = np.ones(len(images)) if weights is None else weights
    found = HostDevice(classifier(graph)).gradients(
        variables=parameters, batch=labelled(images, labels), weights=counts
    )
    return found.loss, found.parameters


def single(shape: Shape, nodes: tuple[Node, ...]) -> Graph:
    """A graph with one input."""
    return Graph((Input(INPUT, shape),), nodes)


@pytest.fixture(scope="module")
def digits() -> Graph:
    return load_workload("digits").model.built.graph


def batch_for(graph: Graph, samples: int, *, seed: int = 0) -> tuple[dict[str, Array], Array, np.ndarray]:
    """Parameters with biases that are not zero, images and labels."""
    rng = np.random.default_rng(seed)
    parameters = graph.initialise(rng, FP64)
    for array in parameters.values():
        array += 0.05 * rng.standard_normal(array.shape)
    return parameters, rng.random((samples, *graph.shapes[INPUT])), rng.integers(0, graph.output_shape[0], samples)


def check_same(found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert np.max(np.abs(found[name] - array)) <= tolerance * np.max(np.abs(array)), name


def check_slopes(graph: Graph, parameters: dict[str, Array], images: Array, labels: np.ndarray) -> None:
    """Gradients of sampled entries of every parameter against central differences."""
    _, grads = loss_and_gradients(graph, parameters, images, labels)
    assert list(grads) == list(graph.parameters)
    rng, step = np.random.default_rng(7), 1e-5
    for name, array in parameters.items():
        flat = array.reshape(-1)
        for place in rng.choice(flat.size, min(8, flat.size), replace=False):
            kept, losses = flat[place], []
            for value in (kept + step, kept - step):
                flat[place] = value
                losses.append(loss_and_gradients(graph, parameters, images, labels)[0])
            flat[place] = kept
            slope = (losses[0] - losses[1]) / (2 * step)
            assert grads[name].reshape(-1)[place] == pytest.approx(slope, rel=1e-6, abs=1e-9), (name, place)


@pytest.mark.numeric
def test_digits_gradients_are_the_slopes_of_the_loss(digits: Graph) -> None:
    check_slopes(digits, *batch_for(digits, 3))


@pytest.mark.numeric
def test_gradients_of_branches_add_up() -> None:
    nodes = (
        Node(Linear("stem", 5), (INPUT,)),
        Node(ReLU("relu"), ("stem",)),
        Node(Linear("left", 5), ("relu",)),
        Node(Linear("right", 5), ("relu",)),
        Node(Add("sum"), ("left", "right", "relu", "relu")),
        Node(Linear("head", 3), ("sum",)),
    )
    graph = single((4,), nodes)
    check_slopes(graph, *batch_for(graph, 6))


@pytest.mark.numeric
def test_an_input_taken_by_several_layers_needs_no_gradient() -> None:
    nodes = (
        Node(Linear("left", 3), (INPUT,)),
        Node(Linear("right", 3), (INPUT,)),
        Node(Add("sum"), ("left", "right")),
    )
    graph = single((4,), nodes)
    check_slopes(graph, *batch_for(graph, 6))


@pytest.mark.numeric
def test_a_layer_that_leads_nowhere_has_a_zero_gradient() -> None:
    nodes = (Node(Linear("stem", 5), (INPUT,)), Node(Linear("dead", 2), ("stem",)), Node(Linear("head", 3), ("stem",)))
    graph = single((4,), nodes)
    parameters, images, labels = batch_for(graph, 6)
    _, grads = loss_and_gradients(graph, parameters, images, labels)
    assert not grads["dead.weight"].any()
    assert grads["stem.weight"].any()


@pytest.mark.numeric
@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=8), seed=st.integers(0, 100))
def test_multiplicities_are_repeated_samples(counts: list[int], seed: int) -> None:
    graph = load_workload("digits").model.built.graph
    parameters, images, labels = batch_for(graph, len(counts), seed=seed)
    loss, grads = loss_and_gradients(graph, parameters, images, labels, np.array(counts, dtype=float))
    repeated = np.repeat(images, counts, axis=0), np.repeat(labels, counts)
    all_loss, all_grads = loss_and_gradients(graph, parameters, *repeated)
    assert loss == pytest.approx(all_loss, rel=1e-12)
    check_same(grads, all_grads, 1e-12)


@pytest.mark.numeric
def test_a_large_batch_is_its_samples_one_by_one() -> None:
    # too many and too large for the host to compute all at once
    graph = Graph.chain((64, 64, 1), [Conv2d("c", 16, (3, 3), padding=1), ReLU("r"), Flatten("f"), Linear("l", 3)])
    samples = 67
    parameters, images, labels = batch_for(graph, samples)
    weights = np.random.default_rng(1).integers(1, 4, samples).astype(float)
    loss, grads = loss_and_gradients(graph, parameters, images, labels, weights)
    expected_loss, expected = 0.0, {name: np.zeros(shape) for name, shape in graph.parameters.items()}
    for number in range(samples):
        one = slice(number, number + 1)
        share = weights[number] / weights.sum()
        one_loss, one_grads = loss_and_gradients(graph, parameters, images[one], labels[one])
        expected_loss += share * one_loss
        for name, grad in one_grads.items():
            expected[name] += share * grad
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    check_same(grads, expected, 1e-12)

    def predicted(part: slice) -> Array:
        return graph.predict(parameters, {INPUT: images[part]})[graph.output]

    each = np.concatenate([predicted(slice(number, number + 1)) for number in range(samples)])
    np.testing.assert_allclose(predicted(slice(None)), each, rtol=1e-10, atol=1e-12)


def test_an_empty_batch_is_refused(digits: Graph) -> None:
    parameters, images, labels = batch_for(digits, 0)
    with pytest.raises(ValueError, match="empty batch"):
        loss_and_gradients(digits, parameters, images, labels)


def test_digits_by_hand(digits: Graph) -> None:
    shapes = {
        "input": (8, 8, 1),
        "conv2d1": (8, 8, 16),
        "relu1": (8, 8, 16),
        "maxpool1": (4, 4, 16),
        "conv2d2": (4, 4, 32),
        "relu2": (4, 4, 32),
        "maxpool2": (2, 2, 32),
        "flatten1": (128,),
        "linear1": (64,),
        "relu3": (64,),
        "linear2": (10,),
    }
    assert digits.shapes == shapes
    assert digits.output == "linear2"
    assert digits.output_shape == (10,)
    assert digits.parameters == {
        "conv2d1.weight": (3, 3, 1, 16),
        "conv2d1.bias": (16,),
        "conv2d2.weight": (3, 3, 16, 32),
        "conv2d2.bias": (32,),
        "linear1.weight": (128, 64),
        "linear1.bias": (64,),
        "linear2.weight": (64, 10),
        "linear2.bias": (10,),
    }
    assert digits.parameter_shapes("conv2d2") == {"conv2d2.weight": (3, 3, 16, 32), "conv2d2.bias": (32,)}
    # 9·16 + 16, 9·16·32 + 32, 128·64 + 64, 64·10 + 10
    assert digits.parameter_count == 160 + 4640 + 8256 + 650 == 13_706
    # a product for every weight and output pixel: 64 pixels, 16 pixels, and one each
    assert digits.multiply_accumulates == {
        "conv2d1": 9 * 16 * 64,
        "conv2d2": 9 * 16 * 32 * 16,
        "linear1": 128 * 64,
        "linear2": 64 * 10,
    }


def test_fresh_parameters_come_from_the_generator_in_order(digits: Graph) -> None:
    first, second, single = (
        digits.initialise(np.random.default_rng(4), dtype) for dtype in (FP64, FP64, np.dtype(np.float32))
    )
    assert list(first) == list(digits.parameters)
    rng = np.random.default_rng(4)
    for node in digits.nodes:
        for name, array in node.layer.initialise(digits.input_shapes(node), rng, FP64).items():
            np.testing.assert_array_equal(first[f"{node.name}.{name}"], array)
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)
        np.testing.assert_array_equal(single[name], array.astype(np.float32))
        assert prod(array.shape) == prod(digits.parameters[name])


def test_no_layers_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one layer"):
        single((4,), ())


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ShapeError, match="two layers are named 'a'"):
        Graph.chain((4,), [ReLU("a"), ReLU("b"), ReLU("a")])
    with pytest.raises(ShapeError, match="'input'"):
        Graph.chain((4,), [ReLU(INPUT)])


@pytest.mark.parametrize("source", ["nobody", "later", "self"])
def test_an_unknown_input_is_refused(source: str) -> None:
    nodes = (Node(ReLU("self"), (source,)), Node(ReLU("later"), ("self",)))
    with pytest.raises(ShapeError, match=f"'self' takes '{source}'"):
        single((4,), nodes)


def test_layers_that_do_not_fit_are_refused_when_the_graph_is_built() -> None:
    with pytest.raises(ShapeError, match=r"'c' \(conv2d\).*\(16,\)"):
        Graph.chain((4, 4, 1), [Flatten("f"), Conv2d("c", 5, (1, 1))])
