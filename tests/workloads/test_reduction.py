"""Gradients of a global batch: rank by rank in the schedule's order, or all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.device import TRAINING, HostDevice
from nnlib.layers.layer import Run
from nnlib.model import Gradients, Model
from sim.chip.memory import Array
from sim.network.allreduce import ALGORITHMS
from sim.network.collectives import collective
from sim.network.schedule import execute
from sim.network.topology import Topology
from tests.nnlib.batches import LABEL, classifier
from tests.workloads.small import image_part, linear_graph, machine
from workloads.datasets.stream import Samples, SampleStream
from workloads.reduction import SCHEDULE_LIMIT_BYTES, Reduction, choose_order

GRAPH = linear_graph(height=3, width=3, channels=2, units=5)


def stream(images: int = 40) -> SampleStream:
    rng = np.random.default_rng(7)
    return SampleStream(image_part(rng.random((images, 3, 3, 2)), rng.integers(5, size=images), max_shift=1), 0)


def parameters(dtype: type = np.float64) -> dict[str, Array]:
    return GRAPH.initialise(np.random.default_rng(3), np.dtype(dtype))


def adder(algorithm: str, *, nodes: int, ranks_per_node: int = 1) -> Callable[[Array], Array]:
    """The collective, executed: supernodes of four nodes, so that small cases cross them too."""
    network = machine("network.topology.supernode_nodes=4").network
    topology = Topology(network=network, nodes=nodes, ranks_per_node=ranks_per_node)

    def add(values: Array) -> Array:
        return execute(collective("allreduce", algorithm, topology=topology, elements=values.shape[1]), values)[0]

    return add


def check_close(found: dict[str, Array], expected: dict[str, Array], tolerance: float = 1e-12) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        assert np.abs(found[name] - array).max() <= tolerance * np.abs(array).max(), name


@dataclass
class FakeDevice:
    """Gives each call's labels, weighted, as the only gradient and their mean as the loss; remembers the calls."""

    calls: list[tuple[list[int], list[float]]] = field(default_factory=list)

    @property
    def model(self) -> Model:
        return classifier(GRAPH)

    def gradients(self, *, variables: dict[str, Array], batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        labels = batch.targets[LABEL]
        self.calls.append((labels.tolist(), weights.tolist()))
        mean = float((labels * weights).sum() / weights.sum())
        return Gradients(mean, {name: np.full(array.shape, mean) for name, array in variables.items()}, {})


def numbered(labels: list[float]) -> SampleStream:
    """A stream over one-pixel images whose labels are given; sample number = image number."""
    return SampleStream(image_part(np.zeros((len(labels), 1, 1, 1)), np.array(labels)), 0)


@pytest.mark.numeric
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("nodes", "ranks_per_node"), [(1, 1), (2, 1), (3, 1), (7, 1), (8, 1), (11, 1), (3, 4)])
def test_all_at_once_is_the_schedule_up_to_rounding(algorithm: str, nodes: int, ranks_per_node: int) -> None:
    ranks = nodes * ranks_per_node
    samples = stream().next(6 * ranks)
    add = adder(algorithm, nodes=nodes, ranks_per_node=ranks_per_node)
    device, weights = HostDevice(classifier(GRAPH)), parameters()
    losses, gradients = [], []
    for order in ("schedule", "pairwise"):
        reduction = Reduction(order=order, ranks=ranks, add_ranks=add)
        found = reduction.gradients(device=device, variables=weights, stream=stream(), samples=samples)
        losses.append(found.loss)
        gradients.append(found.parameters)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    check_close(gradients[0], gradients[1])


@pytest.mark.numeric
def test_multiplicities_are_repeated_samples() -> None:
    source = stream()
    ids = np.array([17, 4, 17, 17, 200, 4, 31, 200, 17, 0])
    reduction = Reduction(order="pairwise", ranks=2, add_ranks=lambda values: values)
    device = HostDevice(classifier(GRAPH))
    found = reduction.gradients(device=device, variables=parameters(), stream=source, samples=Samples(ids))
    expected = device.gradients(variables=parameters(), batch=source.batch(ids), weights=np.ones(len(ids)))
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    check_close(found.parameters, expected.parameters)


def test_all_at_once_computes_every_sample_once() -> None:
    device = FakeDevice()
    reduction = Reduction(order="pairwise", ranks=2, add_ranks=lambda values: values)
    source = numbered([10, 20, 30, 40])
    found = reduction.gradients(
        device=device, variables={"w": np.zeros(1)}, stream=source, samples=Samples(np.array([3, 1, 3, 3]))
    )
    assert device.calls == [([20, 40], [1.0, 3.0])]
    assert found.loss == (20 + 3 * 40) / 4


def test_ranks_take_contiguous_shares_in_order_and_the_mean_is_taken() -> None:
    device = FakeDevice()
    seen = []

    def add(values: Array) -> Array:
        seen.append(values.copy())
        return values.sum(axis=0)

    reduction = Reduction(order="schedule", ranks=3, add_ranks=add)
    weights = {"a": np.zeros((2, 1)), "b": np.zeros(1)}
    source = numbered([0, 1, 2, 3, 4, 5])
    samples = Samples(np.array([5, 3, 0, 0, 1, 2]))
    found = reduction.gradients(device=device, variables=weights, stream=source, samples=samples)
    grads = found.parameters
    assert [labels for labels, _ in device.calls] == [[5, 3], [0, 0], [1, 2]]
    assert all(each == [1.0, 1.0] for _, each in device.calls)
    np.testing.assert_array_equal(seen[0], [[4.0] * 3, [0.0] * 3, [1.5] * 3])
    assert found.loss == pytest.approx(5.5 / 3)
    assert {name: array.shape for name, array in grads.items()} == {"a": (2, 1), "b": (1,)}
    assert grads["a"][1, 0] == grads["b"][0] == 5.5 / 3


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("algorithm", "expected"), [("recursive_doubling", 0.0), ("binomial_tree", 0.0), ("ring", 0.5)]
)
def test_the_order_of_the_schedule_is_visible_in_the_last_bits(algorithm: str, expected: float) -> None:
    # (1 + 1e16) + (-1e16 + 1) is 0 in floating point; the ring adds ((1 + 1) + 1e16) - 1e16, which is 2
    reduction = Reduction(order="schedule", ranks=4, add_ranks=adder(algorithm, nodes=4))
    source = numbered([1.0, 1e16, -1e16, 1.0])
    found = reduction.gradients(
        device=FakeDevice(), variables={"w": np.zeros(1)}, stream=source, samples=Samples(np.arange(4))
    )
    assert found.parameters["w"][0] == expected


@pytest.mark.numeric
@pytest.mark.parametrize("order", ["schedule", "pairwise"])
def test_gradients_have_the_precision_of_the_parameters(order: str) -> None:
    reduction = Reduction(order=order, ranks=3, add_ranks=adder("ring", nodes=3))  # type: ignore[arg-type]
    samples = stream().next(12)
    device = HostDevice(classifier(GRAPH))
    single = parameters(np.float32)
    found = reduction.gradients(device=device, variables=single, stream=stream(), samples=samples)
    exact = reduction.gradients(device=device, variables=parameters(), stream=stream(), samples=samples)
    assert {array.dtype for array in found.parameters.values()} == {np.dtype(np.float32)}
    assert found.loss == pytest.approx(exact.loss, rel=1e-5)
    wide = {name: array.astype(np.float64) for name, array in found.parameters.items()}
    check_close(wide, exact.parameters, tolerance=1e-5)


@pytest.mark.parametrize(
    ("ranks", "gradient_bytes", "repeats", "expected"),
    [
        (1, 8, False, "schedule"),
        (16, SCHEDULE_LIMIT_BYTES // 16, False, "schedule"),
        (16, SCHEDULE_LIMIT_BYTES // 16 + 1, False, "pairwise"),
        (SCHEDULE_LIMIT_BYTES, 1, False, "schedule"),
        (SCHEDULE_LIMIT_BYTES + 1, 1, False, "pairwise"),
        (1, 8, True, "pairwise"),
    ],
)
def test_the_order_chosen_for_auto(ranks: int, gradient_bytes: int, repeats: bool, expected: str) -> None:
    order = choose_order(wanted="auto", ranks=ranks, gradient_bytes=gradient_bytes, repeats=repeats)
    assert order == expected


@pytest.mark.parametrize("wanted", ["schedule", "pairwise"])
@pytest.mark.parametrize("gradient_bytes", [1, 2 * SCHEDULE_LIMIT_BYTES])
@pytest.mark.parametrize("repeats", [False, True])
def test_an_order_that_is_asked_for_is_taken(wanted: str, gradient_bytes: int, repeats: bool) -> None:
    order = choose_order(wanted=wanted, ranks=2, gradient_bytes=gradient_bytes, repeats=repeats)  # type: ignore[arg-type]
    assert order == wanted
