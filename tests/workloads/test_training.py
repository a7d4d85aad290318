"""The training loop: when it ends, what its curve says, and that it goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nnlib.device import HostDevice
from nnlib.graph import Graph
from nnlib.layers.arrangement import Flatten
from nnlib.layers.linear import Linear
from nnlib.optim.adam import Adam
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.rate import LearningRate
from nnlib.optim.sgd import SGD
from sim.chip.memory import Array
from sim.network.collectives import collective
from sim.network.schedule import execute
from sim.network.topology import Topology
from tests.nnlib.batches import classifier
from tests.workloads.small import image_part, machine
from workloads.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, weights_sha256
from workloads.datasets.dataset import Part
from workloads.datasets.measure import Measure
from workloads.datasets.stream import SampleStream
from workloads.reduction import Reduction
from workloads.training import Goal, Trainer, TrainingState

GRAPH = Graph.chain((1, 2, 1), [Flatten("flatten"), Linear("linear", 2)])
PAIR = image_part(np.array([[1.0, 0.0], [0.0, 1.0]]).reshape(2, 1, 2, 1), np.array([0, 1]))
"""Two classes, each with one image: left pixel or right pixel."""
STEP_SECONDS = 0.25
RANKS = 2


def goal(**changes: object) -> Goal:
    """Five steps, a look at the test set after each."""
    base = Goal(until=None, steps=5, max_steps=100, evaluate_every=1)
    return replace(base, **changes)  # type: ignore[arg-type]


def add_ranks(values: Array) -> Array:
    topology = Topology(network=machine().network, nodes=RANKS)
    return execute(collective("allreduce", "ring", topology=topology, elements=values.shape[1]), values)[0]


def trainer(wanted: Goal, *, optimizer: Optimizer | None = None, rate: LearningRate | None = None) -> Trainer:
    """Trains on both images of PAIR in every step, one for each of two ranks."""
    return Trainer(
        device=HostDevice(classifier(GRAPH)),
        reduction=Reduction(order="schedule", ranks=RANKS, add_ranks=add_ranks),
        optimizer=optimizer or SGD(),
        rate=rate or LearningRate(base=0.5, at_batch=2),
        test=PAIR,
        measure=Measure(name="accuracy", output="linear", target="label"),
        global_batch=2,
        seconds_per_step=STEP_SECONDS,
        goal=wanted,
    )


def fresh(subject: Trainer, *, seed: int = 0, train: Part = PAIR) -> TrainingState:
    parameters = GRAPH.initialise(np.random.default_rng(seed), np.dtype(np.float64))
    return TrainingState(
        variables=parameters,
        optimizer=subject.optimizer.initial_state(parameters),
        stream=SampleStream(train, seed),
    )


def blind() -> TrainingState:
    """A model that answers 1 to everything: half of the test set is right, and learning takes some steps."""
    state = fresh(trainer(goal()))
    state.variables = {"linear.weight": np.zeros((2, 2)), "linear.bias": np.array([0.0, 5.0])}
    return state


def run(subject: Trainer, state: TrainingState) -> list[int]:
    """The steps after which the caller was told."""
    told: list[int] = []
    subject.run(state, after_step=lambda current: told.append(current.step))
    return told


class TestGoal:
    def test_so_many_steps(self) -> None:
        subject = trainer(goal(steps=3))
        state = fresh(subject)
        assert run(subject, state) == [1, 2, 3]
        assert (state.step, subject.last_step) == (3, 3)
        assert not subject.reached(state)

    def test_until_the_accuracy(self) -> None:
        subject = trainer(goal(steps=None, until=1.0))
        state = blind()
        told = run(subject, state)
        assert subject.reached(state)
        assert told == list(range(1, state.step + 1))
        accuracies = [point["accuracy"] for point in state.curve]
        assert len(told) > 1
        assert set(accuracies[:-1]) == {0.5}
        assert accuracies[-1] == state.measured == 1.0

    def test_the_accuracy_is_only_known_where_it_was_looked_at(self) -> None:
        every_step, rarely = (trainer(goal(steps=None, until=1.0, evaluate_every=every)) for every in (1, 7))
        first, state = blind(), blind()
        run(every_step, first)
        run(rarely, state)
        assert state.step == -(-first.step // 7) * 7
        assert first.step % 7 != 0

    def test_no_more_than_the_most_steps(self) -> None:
        subject = trainer(goal(steps=None, until=1.0, max_steps=2, evaluate_every=10))
        state = blind()
        assert run(subject, state) == [1, 2]
        assert not subject.reached(state)
        assert [point["samples"] for point in state.curve] == [0, 4]

    def test_steps_and_accuracy_whichever_comes_first(self) -> None:
        late, early = (trainer(goal(steps=steps, until=1.0)) for steps in (2, 1000))
        state = blind()
        run(late, state)
        assert (state.step, late.reached(state)) == (2, False)
        state = blind()
        run(early, state)
        assert early.reached(state)
        assert state.step < 1000

    def test_nothing_is_done_where_the_accuracy_is_there_at_once(self) -> None:
        subject = trainer(goal(steps=None, until=0.5))
        state = blind()
        assert run(subject, state) == []
        assert (state.step, state.loss, len(state.curve)) == (0, None, 1)
        assert subject.reached(state)


class TestCurve:
    @pytest.mark.parametrize(("every", "steps"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])])
    def test_a_point_for_each_look_at_the_test_set(self, every: int, steps: list[int]) -> None:
        subject = trainer(goal(evaluate_every=every))
        state = fresh(subject)
        run(subject, state)
        assert [point["seconds"] for point in state.curve] == [step * STEP_SECONDS for step in steps]
        assert [point["samples"] for point in state.curve] == [2 * step for step in steps]
        assert state.curve[0]["loss"] is None
        assert state.curve[-1]["loss"] == state.loss
        assert state.curve[-1]["accuracy"] == state.measured

    def test_the_loss_of_a_point_is_that_of_the_step_before_it(self) -> None:
        """Zero weights say 50:50, which costs log 2."""
        subject = trainer(goal(steps=1))
        state = fresh(subject)
        state.variables = {"linear.weight": np.zeros((2, 2)), "linear.bias": np.zeros(2)}
        run(subject, state)
        assert state.curve[1]["loss"] == pytest.approx(np.log(2), rel=1e-12)


@pytest.mark.numeric
class TestLearning:
    def test_one_step_by_hand(self) -> None:
        """From zero weights both answers are 1/2, so the mean gradient is ±1/4: the rate 0.5 makes it ±1/8."""
        subject = trainer(goal(steps=1))
        state = fresh(subject)
        state.variables = {"linear.weight": np.zeros((2, 2)), "linear.bias": np.zeros(2)}
        run(subject, state)
        expected = [[0.125, -0.125], [-0.125, 0.125]]
        np.testing.assert_allclose(state.variables["linear.weight"], expected, rtol=1e-12)
        np.testing.assert_allclose(state.variables["linear.bias"], 0, atol=1e-15)

    def test_the_rate_of_each_step_is_the_schedules(self) -> None:
        """Two warm-up steps at 1/3 and 2/3 of the rate; the first one is a third of the step by hand."""
        subject = trainer(goal(steps=1), rate=LearningRate(base=0.5, at_batch=2, warmup_steps=2))
        state = fresh(subject)
        state.variables = {"linear.weight": np.zeros((2, 2)), "linear.bias": np.zeros(2)}
        run(subject, state)
        np.testing.assert_allclose(state.variables["linear.weight"][0], [0.125 / 3, -0.125 / 3], rtol=1e-12)

    @pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), LARS(trust=0.1), Adam()], ids=["sgd", "lars", "adam"])
    def test_a_separable_problem_is_learned(self, optimizer: Optimizer) -> None:
        subject = trainer(goal(steps=60), optimizer=optimizer, rate=LearningRate(base=0.2, at_batch=2))
        state = blind()
        state.optimizer = optimizer.initial_state(state.variables)
        run(subject, state)
        assert state.measured == 1.0
        losses = [point["loss"] for point in state.curve[1:]]
        assert losses[-1] < losses[0] / 3

    def test_the_seed_decides(self) -> None:
        subject = trainer(goal())
        prints = []
        for seed in (0, 0, 1):
            state = fresh(subject, seed=seed)
            run(subject, state)
            prints.append((weights_sha256(state.variables), state.curve))
        assert prints[0] == prints[1]
        assert prints[0][0] != prints[2][0]


def kept(state: TrainingState) -> Checkpoint:
    """All of the state, as a job keeps it."""
    return Checkpoint(
        key="k",
        step=state.step,
        parameters=state.variables,
        optimizer={"arrays": state.optimizer, "loss": state.loss, "measured": state.measured},
        stream=state.stream.state(),
        curve=state.curve,
    )


def restored(found: Checkpoint, train: Part) -> TrainingState:
    return TrainingState(
        variables=dict(found.parameters),
        optimizer=dict(found.optimizer["arrays"]),
        stream=SampleStream.from_state(train, found.stream),
        step=found.step,
        loss=found.optimizer["loss"],
        measured=found.optimizer["measured"],
        curve=[dict(point) for point in found.curve],
    )


@pytest.mark.numeric
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), LARS(), Adam()], ids=["sgd", "lars", "adam"])
@pytest.mark.parametrize("every", [1, 4])
def test_a_run_goes_on_from_any_checkpoint_bit_for_bit(tmp_path: Path, optimizer: Optimizer, every: int) -> None:
    """More images than a step takes, so that the stream's place counts."""
    rng = np.random.default_rng(5)
    train = image_part(rng.random((7, 1, 2, 1)), np.array([0, 1, 1, 0, 1, 0, 1]))
    subject = trainer(goal(steps=10, evaluate_every=every), optimizer=optimizer)
    whole = fresh(subject, train=train)
    subject.run(whole, after_step=lambda state: save_checkpoint(kept(state), tmp_path / f"{state.step}.npz"))
    prints = set()
    for step in range(1, 11):
        state = restored(load_checkpoint(tmp_path / f"{step}.npz"), train)
        prints.add(weights_sha256(state.variables))
        assert run(subject, state) == list(range(step + 1, 11))
        assert weights_sha256(state.variables) == weights_sha256(whole.variables)
        assert (state.curve, state.loss, state.measured) == (whole.curve, whole.loss, whole.measured)
        for name, array in whole.optimizer.items():
            np.testing.assert_array_equal(state.optimizer[name], array)
    assert len(prints) == 10


def test_host_time_is_counted() -> None:
    subject = trainer(goal(steps=3))
    state = fresh(subject)
    seen: list[float] = []
    subject.run(state, after_step=lambda current: seen.append(current.host_seconds))
    assert seen[0] > 0
    assert all(before < after for before, after in pairwise(seen))
