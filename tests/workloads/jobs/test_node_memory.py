"""Memory of a step, counted by hand, and the largest batch that fits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlib.graph import Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.linear import Linear
from nnlib.lowering import lower_gradients
from nnlib.optim.adam import Adam
from nnlib.optim.sgd import SGD
from tests.nnlib.batches import classifier
from tests.workloads.small import node_timer
from workloads.jobs.node_build import build_node_step
from workloads.jobs.node_memory import MOST_TRIED, Need, largest_batch, largest_bucket, node_memory
from workloads.jobs.node_step import NodeMemory, node_step_of

ONE_LAYER = Graph.chain((64,), [Linear("linear", 10)])
NUMBERS = 64 * 10 + 10


def memory(batch: int, *, adam: bool = False, sharers: int = 4, bucket: str = "25 MB") -> NodeMemory:
    mapping = node_timer(f"gradient_buckets={bucket}").mapping
    program = lower_gradients(model=classifier(ONE_LAYER), batch=batch, dtype="fp64")
    return node_memory(
        program=program, optimizer=Adam() if adam else SGD(momentum=0.9), mapping=mapping, sharers=sharers
    )


def test_one_linear_layer_by_hand() -> None:
    """Four samples of 64 numbers, each with its class and its share; scores and their gradient, a loss each."""
    found = memory(4)
    assert (found.weights, found.gradients) == (8 * NUMBERS, 8 * NUMBERS)
    assert found.optimiser == 8 * 163  # a quarter of one velocity each
    inputs = 8 * 4 * (64 + 1 + 1)
    assert found.buffers == 2 * inputs + 8 * NUMBERS
    assert found.activations == 8 * 4 * (10 + 10 + 1)
    assert found.total == sum((found.weights, found.gradients, found.optimiser, found.activations, found.buffers))


def test_adam_keeps_two_numbers_and_ranks_of_their_own_share_nothing() -> None:
    assert memory(4, adam=True).optimiser == 2 * 8 * 163
    assert memory(4, sharers=1).optimiser == 8 * NUMBERS


def test_only_samples_and_activations_grow_with_the_batch() -> None:
    small, large = memory(4), memory(8)
    assert (small.weights, small.gradients, small.optimiser) == (large.weights, large.gradients, large.optimiser)
    assert large.activations == 2 * small.activations
    assert large.buffers - small.buffers == 2 * 8 * 4 * 66


@pytest.mark.parametrize(("limit", "expected"), [(1, 640), (8 * 10, 649), (8 * 100, 650), (10**6, 650)])
def test_a_bucket_is_full_before_it_leaves(limit: int, expected: int) -> None:
    """At most one number less than the limit, and then the largest of all."""
    assert largest_bucket([640, 10], item=8, limit=limit) == 8 * expected


@given(
    constant=st.integers(0, 1000),
    slope=st.integers(1, 50),
    step=st.integers(1, 7),
    more=st.lists(st.integers(0, 3000), min_size=1, max_size=9),
    batch=st.integers(2, MOST_TRIED),
    least=st.integers(1, 3),
    available=st.integers(0, 5000),
)
def test_the_largest_batch_that_fits(
    constant: int, slope: int, step: int, more: list[int], batch: int, least: int, available: int
) -> None:
    """The same as trying all of them, for memory that grows in steps and has parts that come and go."""

    def needed(samples: int) -> Need:
        certain = constant + slope * (samples // step) * step
        return Need(certain + more[samples % len(more)], certain)

    fitting = [samples for samples in range(least, batch) if needed(samples).total <= available]
    found = largest_batch(needed, batch=batch, available=available, least=least)
    assert found == (fitting[-1] if fitting else None)


def test_few_batches_are_tried_where_memory_is_a_line() -> None:
    tried = []

    def needed(samples: int) -> Need:
        tried.append(samples)
        return Need(1000 + 70 * samples, 990 + 69 * samples)

    assert largest_batch(needed, batch=4096, available=1000 + 70 * 1234) == 1234
    assert len(tried) < 35


@pytest.mark.parametrize("fitting", [0, 1, 7, 40_000, 123_456, 900_000])
def test_few_batches_are_tried_where_little_is_certain(fitting: int) -> None:
    """A network whose images lie in another order: most of its memory depends on plans."""
    tried = []

    def needed(samples: int) -> Need:
        tried.append(samples)
        return Need(1000 + 70 * samples, 900 + 20 * samples)

    assert largest_batch(needed, batch=10**7, available=1000 + 70 * fitting) == (fitting or None)
    assert len(tried) < MOST_TRIED + 60


@pytest.mark.timing
def test_a_step_from_plain_values_is_the_same_to_the_bit() -> None:
    timer = node_timer("gradient_buckets=4 KB")
    graph = Graph.chain((64,), [Linear("hidden", 128), ReLU("relu"), Linear("out", 10)])
    program = lower_gradients(model=classifier(graph), batch=4, dtype="fp64")
    step = build_node_step(timer=timer, program=program, samples=4, optimizer=SGD(momentum=0.9))
    assert node_step_of(json.loads(json.dumps(step.as_json()))) == step
    assert step.seconds == step.gradient_seconds + step.update_seconds
    assert sum(step.reasons.values()) == pytest.approx(step.seconds, rel=1e-12)
    assert sum(step.by_part.values()) == pytest.approx(step.seconds, rel=1e-12)
    assert step.gradient_bytes == 8 * (64 * 128 + 128 + 1280 + 10)
    assert sum(bucket.elements for bucket in step.buckets) * 8 == step.gradient_bytes
