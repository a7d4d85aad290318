"""Optimisers against their formulas over several steps, and the learning rate step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import cos, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.layers.layer import Array
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.rate import LearningRate
from nnlib.optim.sgd import SGD

SHAPES = {"l.weight": (3, 4), "l.bias": (4,), "c.weight": (2, 3, 1, 2)}
RATES = (0.1, 0.05, 0.2, 0.01, 0.3)
Course = Callable[[Array, list[Array]], Iterator[Array]]


def run(optimizer: Optimizer, seed: int) -> tuple[dict[str, list[Array]], dict[str, list[Array]]]:
    """Every parameter before and after each step, and the gradients of the steps."""
    rng = np.random.default_rng(seed)
    parameters = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    state = optimizer.initial_state(parameters)
    courses = {name: [array.copy()] for name, array in parameters.items()}
    all_grads: dict[str, list[Array]] = {name: [] for name in SHAPES}
    for rate in RATES:
        grads = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
        kept = {name: grad.copy() for name, grad in grads.items()}
        optimizer.update(parameters, grads, state, rate=rate)
        for name, grad in grads.items():
            np.testing.assert_array_equal(grad, kept[name])
            all_grads[name].append(grad)
            courses[name].append(parameters[name].copy())
    return courses, all_grads


def check(optimizer: Optimizer, course: Course, seed: int) -> None:
    """The weights after each step are those of the formula."""
    found, grads = run(optimizer, seed)
    for name, weights in found.items():
        for step, expected in enumerate(course(weights[0], grads[name]), start=1):
            scale = np.max(np.abs(expected))
            assert np.max(np.abs(weights[step] - expected)) <= 1e-13 * scale, (name, step)
        assert step == len(RATES)


unit = st.sampled_from([0.0, 0.5, 0.9])
decays = st.sampled_from([0.0, 1e-3, 0.1])
seeds = st.integers(0, 1000)


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(momentum=unit, nesterov=st.booleans(), decay=decays, seed=seeds)
def test_sgd(momentum: float, nesterov: bool, decay: float, seed: int) -> None:
    def course(weight: Array, grads: list[Array]) -> Iterator[Array]:
        # the velocity is the sum of all steps so far, each faded by the momentum
        taken: list[Array] = []
        for rate, grad in zip(RATES, grads, strict=True):
            taken.append(grad + decay * weight)
            velocity = sum(momentum**age * step for age, step in enumerate(reversed(taken)))
            weight = weight - rate * (taken[-1] + momentum * velocity if nesterov else velocity)
            yield weight

    check(SGD(momentum=momentum, nesterov=nesterov, weight_decay=decay), course, seed)


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(momentum=unit, decay=decays, trust=st.sampled_from([0.001, 0.02, 1.0]), seed=seeds)
def test_lars(momentum: float, decay: float, trust: float, seed: int) -> None:
    def course(weight: Array, grads: list[Array]) -> Iterator[Array]:
        velocity = np.zeros_like(weight)
        for rate, grad in zip(RATES, grads, strict=True):
            norm, grad_norm = sqrt((weight**2).sum()), sqrt((grad**2).sum())
            ratio = trust * norm / (grad_norm + decay * norm) if weight.ndim > 1 else 1.0
            velocity = momentum * velocity + rate * ratio * (grad + decay * weight)
            weight = weight - velocity
            yield weight

    check(LARS(momentum=momentum, weight_decay=decay, trust=trust), course, seed)


@pytest.mark.numeric
@settings(max_examples=40, deadline=None)
@given(beta1=unit, beta2=st.sampled_from([0.5, 0.99, 0.999]), decay=decays, seed=seeds)
def test_adam(beta1: float, beta2: float, decay: float, seed: int) -> None:
    def course(weight: Array, grads: list[Array]) -> Iterator[Array]:
        # the bias correction makes the moments averages whose weights add up to 1
        taken: list[Array] = []
        for rate, grad in zip(RATES, grads, strict=True):
            taken.append(grad + decay * weight)
            ages = np.arange(len(taken))[::-1]
            mean = np.average(taken, axis=0, weights=beta1**ages)
            square = np.average(np.square(taken), axis=0, weights=beta2**ages)
            weight = weight - rate * mean / (np.sqrt(square) + 1e-8)
            yield weight

    check(Adam(beta1=beta1, beta2=beta2, weight_decay=decay), course, seed)


@pytest.mark.numeric
@settings(max_examples=20, deadline=None)
@given(beta1=unit, beta2=st.sampled_from([0.5, 0.99, 0.999]), decay=decays, seed=seeds)
def test_adamw(beta1: float, beta2: float, decay: float, seed: int) -> None:
    def course(weight: Array, grads: list[Array]) -> Iterator[Array]:
        for step, rate in enumerate(RATES, start=1):
            ages = np.arange(step)[::-1]
            mean = np.average(grads[:step], axis=0, weights=beta1**ages)
            square = np.average(np.square(grads[:step]), axis=0, weights=beta2**ages)
            weight = weight - rate * (mean / (np.sqrt(square) + 1e-8) + decay * weight)
            yield weight

    check(AdamW(beta1=beta1, beta2=beta2, weight_decay=decay), course, seed)


@pytest.mark.numeric
@settings(max_examples=20, deadline=None)
@given(beta1=unit, beta2=st.sampled_from([0.5, 0.99, 0.999]), decay=decays, vectors=st.booleans(), seed=seeds)
def test_lamb(beta1: float, beta2: float, decay: float, vectors: bool, seed: int) -> None:
    """Algorithm 2 of You et al. 2020, "Large batch optimization for deep learning"."""

    def course(weight: Array, grads: list[Array]) -> Iterator[Array]:
        own = decay if vectors or weight.ndim > 1 else 0.0
        for step, rate in enumerate(RATES, start=1):
            ages = np.arange(step)[::-1]
            mean = np.average(grads[:step], axis=0, weights=beta1**ages)
            square = np.average(np.square(grads[:step]), axis=0, weights=beta2**ages)
            direction = mean / (np.sqrt(square) + 1e-6) + own * weight
            ratio = sqrt((weight**2).sum() / (direction**2).sum()) if weight.ndim > 1 else 1.0
            weight = weight - rate * ratio * direction
            yield weight

    check(LAMB(beta1=beta1, beta2=beta2, weight_decay=decay, decay_vectors=vectors), course, seed)


@pytest.mark.parametrize("kind", [SGD, LARS, Adam, AdamW, LAMB])
def test_vectors_without_decay(kind: type[Optimizer]) -> None:
    """Weights as without any decay for vectors, as with it for all others."""
    courses = [
        run(kind(weight_decay=decay, decay_vectors=vectors), 1)[0]
        for decay, vectors in ((0.1, False), (0.1, True), (0.0, True))
    ]
    for name, shape in SHAPES.items():
        found, with_decay, without = (course[name][-1] for course in courses)
        assert not np.array_equal(with_decay, without)
        np.testing.assert_array_equal(found, without if len(shape) < 2 else with_decay)


def test_clipping_by_norm() -> None:
    grads = {"a": np.array([[3.0, 0.0]]), "b": np.array([4.0])}
    assert ClipByNorm(6.0).apply(grads) == 5
    assert (grads["a"].tolist(), grads["b"].tolist()) == ([[3, 0]], [4])
    assert ClipByNorm(1.0).apply(grads) == 5
    np.testing.assert_allclose(np.concatenate([grads["a"].ravel(), grads["b"]]), [0.6, 0, 0.8], rtol=1e-6)
    zero = {"a": np.zeros(3)}
    assert ClipByNorm(1.0).apply(zero) == 0
    assert not zero["a"].any()


def test_clipping_by_value() -> None:
    grads = {"a": np.array([-3.0, 0.2, 0.5, 7.0], dtype=np.float32)}
    ClipByValue(0.5).apply(grads)
    np.testing.assert_array_equal(grads["a"], np.array([-0.5, 0.2, 0.5, 0.5], dtype=np.float32))


@pytest.mark.parametrize("zero", ["weight", "direction"])
def test_lamb_without_a_norm_keeps_the_ratio_one(zero: str) -> None:
    norms = {"weight_norm": 3.0, "direction_norm": 2.0}
    assert LAMB().ratio_of_norms(**norms, axes=2) == 1.5
    assert LAMB().ratio_of_norms(**norms, axes=1) == 1
    assert LAMB().ratio_of_norms(**{**norms, f"{zero}_norm": 0.0}, axes=2) == 1


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_lars_without_a_norm_keeps_the_ratio_one(zero: str) -> None:
    weight, grad = np.ones((2, 2)), np.ones((2, 2))
    (weight if zero == "weight" else grad)[...] = 0
    assert LARS(trust=0.001).ratio(weight, grad) == 1
    assert LARS(trust=0.5).ratio(np.full((2, 2), 3.0), np.full((2, 2), 2.0)) == pytest.approx(0.75)
    assert LARS(trust=0.5, weight_decay=2.0).ratio(np.full((2, 2), 3.0), np.full((2, 2), 2.0)) == pytest.approx(3 / 16)


@pytest.mark.parametrize(
    ("optimizer", "kinds"),
    [
        (SGD(momentum=0.9), ["velocity"]),
        (LARS(), ["velocity"]),
        (Adam(), ["mean", "square"]),
        (AdamW(), ["mean", "square"]),
        (LAMB(), ["mean", "square"]),
    ],
    ids=["sgd", "lars", "adam", "adamw", "lamb"],
)
def test_state_is_zeros_of_the_parameters_dtype(optimizer: Optimizer, kinds: list[str]) -> None:
    parameters = {name: np.ones(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    state = optimizer.initial_state(parameters)
    steps = {"step"} if isinstance(optimizer, Adam | AdamW | LAMB) else set()
    assert state.keys() == {f"{kind}:{name}" for kind in kinds for name in SHAPES} | steps
    for name, array in state.items():
        assert not array.any()
        assert array.shape == ((1,) if name == "step" else SHAPES[name.partition(":")[2]])
    grads = {name: np.ones(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    optimizer.update(parameters, grads, state, rate=0.1)
    assert all(array.dtype == np.float32 for array in parameters.values())
    assert all(array.dtype == np.float32 for name, array in state.items() if name != "step")


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("none", (0.1, 0.1, 0.1)), ("sqrt", (0.1, 0.2, 0.05)), ("linear", (0.1, 0.4, 0.025))],
)
def test_the_peak_scales_with_the_batch(scaling: str, expected: tuple[float, ...]) -> None:
    rate = LearningRate(base=0.1, at_batch=16, scaling=scaling)  # type: ignore[arg-type]
    found = [rate.peak(global_batch=batch) for batch in (16, 64, 4)]
    assert found == pytest.approx(expected, rel=1e-15)


def test_the_cap_is_tight() -> None:
    rate = LearningRate(base=0.05, at_batch=16, scaling="linear", cap=0.4)
    assert rate.peak(global_batch=127) == pytest.approx(0.05 * 127 / 16)
    assert rate.peak(global_batch=127) < 0.4
    assert rate.peak(global_batch=128) == 0.4
    assert rate.peak(global_batch=129) == 0.4


def test_the_rate_of_the_digits_by_hand() -> None:
    rate = LearningRate(base=0.05, at_batch=16, scaling="sqrt", cap=0.3, warmup_steps=10)
    assert rate.at(0, global_batch=16) == pytest.approx(0.05 / 11)
    assert rate.at(9, global_batch=16) == pytest.approx(0.05 * 10 / 11)
    assert rate.at(10, global_batch=16) == 0.05
    assert rate.at(10**6, global_batch=16) == 0.05
    # 655,360 samples are 40,960 times as many: √ is 202, far above the cap
    assert rate.at(10, global_batch=655_360) == 0.3
    assert rate.at(4, global_batch=655_360) == pytest.approx(0.3 * 5 / 11)


def test_without_warm_up_the_first_rate_is_the_peak() -> None:
    assert LearningRate(base=0.2, at_batch=1).at(0, global_batch=8) == 0.2


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_falls_to_its_final_fraction(schedule: str) -> None:
    rate = LearningRate(
        base=1.0,
        at_batch=1,
        warmup_steps=3,
        schedule=schedule,  # type: ignore[arg-type]
        decay_steps=4,
        final_fraction=0.2,
    )
    fallen = [0.25, 0.5, 0.75] if schedule == "linear" else [(1 - cos(pi * part)) / 2 for part in (0.25, 0.5, 0.75)]
    expected = [0.25, 0.5, 0.75, 1.0, *(1 - 0.8 * part for part in fallen), 0.2, 0.2, 0.2]
    assert [rate.at(step, global_batch=1) for step in range(10)] == pytest.approx(expected, rel=1e-14)
    assert rate.at(3, global_batch=1) == 1.0
    assert rate.at(6, global_batch=1) > rate.at(7, global_batch=1)


def rates(steps: int, **options: object) -> list[float]:
    """A course from 2 on, after two steps of warm-up."""
    rate = LearningRate(base=2.0, at_batch=1, warmup_steps=2, **options)  # type: ignore[arg-type]
    return [rate.at(step, global_batch=1) / 2 for step in range(steps)]


def test_the_rate_falls_in_steps() -> None:
    warm = [1 / 3, 2 / 3]
    assert rates(9, schedule="step", decay_steps=3, factor=0.5) == pytest.approx([*warm, 1, 1, 1, *3 * [0.5], 0.25])
    found = rates(9, schedule="multi_step", milestones=(4, 5, 8), factor=0.1)
    assert found == pytest.approx([*warm, 1, 1, 0.1, 0.01, 0.01, 0.01, 0.001])
    assert rates(5, schedule="step") == pytest.approx([*warm, 1, 1, 1])


def test_the_rate_falls_evenly() -> None:
    warm = [1 / 3, 2 / 3]
    assert rates(5, schedule="exponential", decay_steps=2, factor=0.25) == pytest.approx([*warm, 1, 0.5, 0.25])
    found = rates(7, schedule="polynomial", decay_steps=4, power=2.0, final_fraction=0.2)
    parts = [1, (3 / 4) ** 2, (1 / 2) ** 2, (1 / 4) ** 2, 0]
    assert found == pytest.approx([*warm, *(0.2 + 0.8 * part for part in parts)])
    linear = rates(7, schedule="linear", decay_steps=4)
    assert rates(7, schedule="polynomial", decay_steps=4) == pytest.approx(linear)
