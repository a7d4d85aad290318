"""Strategies on virtual ranks give what one rank gives."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.model import Gradients
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from tests.workloads.parallel.networks import RUN, SAMPLES, batch_of, execution, network, variables
from workloads.parallel.sharding import ShardedUpdate
from workloads.parallel.strategy import Strategy, parse_strategy

pytestmark = pytest.mark.numeric

SMALL = ("mlp",)
LARGE = ("cnn", "gpt2", "resnet", "bert")
CASES = [
    ("tensor=2", 1),
    ("tensor=4", 1),
    ("pipeline=2,micro_batches=2", 1),
    ("pipeline=3,micro_batches=8", 1),
    ("data", 4),
    ("tensor=2,pipeline=2,micro_batches=2", 2),
    ("tensor=4,pipeline=4,micro_batches=4", 1),
    ("tensor=2,pipeline=2,micro_batches=2,optimizer_sharding", 4),
    ("tensor=8", 2),
    ("pipeline=6,micro_batches=4", 2),
]


def check_equal(found: Gradients, expected: Gradients, tolerance: float = 1e-10) -> None:
    assert found.loss == pytest.approx(expected.loss, rel=tolerance)
    for name in ("parameters", "statistics"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert set(mine) == set(theirs)
        for key, array in theirs.items():
            largest = max(np.abs(array).max(), 1e-3)
            assert np.abs(mine[key] - array).max() <= tolerance * largest, key


def check_case(name: str, text: str, replicas: int) -> None:
    ranks = execution(name, parse_strategy(text), replicas=replicas)
    weights = np.linspace(0.5, 1.5, SAMPLES)
    found = ranks.gradients(variables(name), batch_of(name), weights, RUN)
    expected = network(name).gradients(variables(name), batch_of(name), weights, run=RUN, together=ranks.together)
    check_equal(found, expected)
    assert list(found.parameters) == list(expected.parameters)


@pytest.mark.parametrize(("text", "replicas"), CASES)
@pytest.mark.parametrize("name", SMALL)
def test_the_gradients_are_those_of_one_rank(name: str, text: str, replicas: int) -> None:
    """Loss, gradients and statistics, dropout and batch normalisation of each micro-batch included."""
    check_case(name, text, replicas)


@pytest.mark.parametrize(("text", "replicas"), CASES[-3:-1])
def test_convolutions_on_16_ranks_have_the_gradients_of_one(text: str, replicas: int) -> None:
    """Channels by eight ranks, and everything at once; with batch normalisation."""
    check_case("cnn", text, replicas)


@pytest.mark.slow
@pytest.mark.parametrize(("text", "replicas"), [CASES[number] for number in (1, 3, 6, 7)])
@pytest.mark.parametrize("name", LARGE)
def test_the_gradients_of_larger_networks_are_those_of_one_rank(name: str, text: str, replicas: int) -> None:
    check_case(name, text, replicas)


def test_batch_normalisation_sees_a_micro_batch() -> None:
    """Of four micro-batches it gives other gradients than of the whole batch at once, tensor parallelism the same."""
    whole = network("cnn").gradients(variables("cnn"), batch_of("cnn"), np.ones(SAMPLES), run=RUN)
    divided = execution("cnn", Strategy(tensor=4))
    check_equal(divided.gradients(variables("cnn"), batch_of("cnn"), np.ones(SAMPLES), RUN), whole)
    piped = execution("cnn", Strategy(pipeline=2, micro_batches=4))
    found = piped.gradients(variables("cnn"), batch_of("cnn"), np.ones(SAMPLES), RUN)
    assert np.abs(found.parameters["c1.weight"] - whole.parameters["c1.weight"]).max() > 1e-3


def test_parts_of_a_micro_batch_are_those_of_a_nodes_core_groups() -> None:
    """Where samples mix, ``together`` of them are one batch, whatever else is divided."""
    ranks = execution("cnn", Strategy(tensor=2, pipeline=2, micro_batches=2), parts=2)
    assert ranks.together == 4
    found = ranks.gradients(variables("cnn"), batch_of("cnn"), np.ones(SAMPLES), RUN)
    expected = network("cnn").gradients(variables("cnn"), batch_of("cnn"), np.ones(SAMPLES), run=RUN, together=4)
    check_equal(found, expected)


def test_a_stage_keeps_no_more_micro_batches_than_stages_behind_it() -> None:
    ranks = execution("mlp", Strategy(pipeline=4, micro_batches=8))
    (states,) = ranks.run(variables("mlp"), batch_of("mlp"), np.ones(SAMPLES), RUN)
    assert [state.most_in_flight for state in states] == [4, 3, 2, 1]


@pytest.mark.parametrize("algorithm", ["ring", "recursive_doubling", "binomial_tree"])
def test_other_collectives_give_the_same_sums(algorithm: str) -> None:
    ranks = execution("mlp", Strategy(tensor=2), replicas=4, collective=algorithm)
    found = ranks.gradients(variables("mlp"), batch_of("mlp"), np.ones(SAMPLES), RUN)
    check_equal(found, network("mlp").gradients(variables("mlp"), batch_of("mlp"), np.ones(SAMPLES), run=RUN))


def test_samples_that_replicas_do_not_divide_are_refused() -> None:
    ranks = execution("mlp", Strategy(), replicas=2)
    with pytest.raises(ValueError, match="15 samples for 2 replicas"):
        ranks.gradients(variables("mlp"), batch_of("mlp", 15), np.ones(15), RUN)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(momentum=0.9, weight_decay=0.01, decay_vectors=False),
    "adam": Adam(weight_decay=0.01),
    "adamw": AdamW(decay_vectors=False),
    "lamb": LAMB(),
    "lars": LARS(momentum=0.9, weight_decay=0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("name", "strategy", "replicas"),
    [
        ("mlp", Strategy(optimizer_sharding=True), 4),
        ("gpt2", Strategy(tensor=2, pipeline=2, optimizer_sharding=True), 4),
        ("cnn", Strategy(tensor=4, pipeline=2, optimizer_sharding=True), 2),
    ],
)
def test_a_sharded_optimizer_gives_the_same_weights(
    optimizer: str, name: str, strategy: Strategy, replicas: int
) -> None:
    """After three steps; to the bit where every number is updated by itself."""
    update = ShardedUpdate(execution(name, strategy, replicas=replicas))
    chosen, exact = OPTIMIZERS[optimizer], optimizer not in ("lamb", "lars")
    learned = {key: variables(name)[key].copy() for key in network(name).graph.parameters}
    sharded = {key: array.copy() for key, array in learned.items()}
    states = chosen.initial_state(learned), chosen.initial_state(sharded)
    for step in range(3):
        rng = np.random.default_rng(step)
        grads = {key: rng.normal(size=array.shape) for key, array in learned.items()}
        chosen.update(learned, grads, states[0], rate=0.1)
        update.step(optimizer=chosen, parameters=sharded, grads=grads, state=states[1], rate=0.1)
    for mine, theirs in ((sharded, learned), (states[1], states[0])):
        for key, array in theirs.items():
            if exact:
                np.testing.assert_array_equal(mine[key], array)
            else:
                assert np.abs(mine[key] - array).max() <= 1e-12 * max(np.abs(array).max(), 1e-3), key
