"""Optimisers against PyTorch's over several steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import ClipByNorm, ClipByValue
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.rate import LearningRate, ScheduleName
from nnlib.optim.sgd import SGD
from tests.nnlib.parity import TOLERANCE, check_same

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
SHAPES = {"c.weight": (3, 2, 4, 5), "c.bias": (5,), "l.weight": (7, 3)}
RATES = (0.1, 0.03, 0.2, 0.01, 0.05)


def check(optimizer: Optimizer, make: Callable[[list[Any]], Any], dtype: str, seed: int) -> None:
    """Five steps, each with another rate and other gradients."""
    rng = np.random.default_rng(seed)
    shapes = {**SHAPES, "drawn": tuple(rng.integers(1, 6, rng.integers(1, 5)))}
    parameters = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.items()}
    state, their_optimizer = optimizer.initial_state(parameters), make(list(theirs.values()))
    for step, rate in enumerate(RATES, start=1):
        grads = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
        optimizer.update(parameters, grads, state, rate=rate)
        for name, tensor in theirs.items():
            tensor.grad = torch.tensor(grads[name])
        for group in their_optimizer.param_groups:
            group["lr"] = rate
        their_optimizer.step()
        for name, tensor in theirs.items():
            check_same(parameters[name], tensor.detach().numpy(), f"{name} after step {step}")


@dtypes
@examples
@given(
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    decay=st.sampled_from([0.0, 1e-4, 0.1]),
    nesterov=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sgd(dtype: str, momentum: float, decay: float, nesterov: bool, seed: int) -> None:
    # PyTorch has no Nesterov step without momentum; it would be the plain one
    theirs = {"momentum": momentum, "weight_decay": decay, "nesterov": nesterov and momentum > 0}
    ours = SGD(momentum=momentum, nesterov=nesterov, weight_decay=decay)
    check(ours, lambda tensors: torch.optim.SGD(tensors, lr=0.1, **theirs), dtype, seed)


@dtypes
@examples
@given(
    beta1=st.sampled_from([0.0, 0.8, 0.9]),
    beta2=st.sampled_from([0.9, 0.99, 0.999]),
    epsilon=st.sampled_from([1e-8, 1e-3]),
    decay=st.sampled_from([0.0, 1e-4, 0.1]),
    seed=st.integers(0, 99),
)
def test_adam(dtype: str, beta1: float, beta2: float, epsilon: float, decay: float, seed: int) -> None:
    theirs = {"betas": (beta1, beta2), "eps": epsilon, "weight_decay": decay}
    ours = Adam(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay)
    check(ours, lambda tensors: torch.optim.Adam(tensors, lr=0.1, **theirs), dtype, seed)


@dtypes
@examples
@given(
    beta1=st.sampled_from([0.0, 0.8, 0.9]),
    beta2=st.sampled_from([0.9, 0.99, 0.999]),
    epsilon=st.sampled_from([1e-8, 1e-3]),
    decay=st.sampled_from([0.0, 1e-2, 0.3]),
    seed=st.integers(0, 99),
)
def test_adamw(dtype: str, beta1: float, beta2: float, epsilon: float, decay: float, seed: int) -> None:
    theirs = {"betas": (beta1, beta2), "eps": epsilon, "weight_decay": decay}
    ours = AdamW(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay)
    check(ours, lambda tensors: torch.optim.AdamW(tensors, lr=0.1, **theirs), dtype, seed)


shapes = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4)


@dtypes
@examples
@given(shapes=shapes, limit=st.sampled_from([1e-3, 0.5, 2.0, 100.0]), by_value=st.booleans(), seed=st.integers(0, 99))
def test_clipping(dtype: str, shapes: list[tuple[int, ...]], limit: float, by_value: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grads = {str(place): rng.standard_normal(shape).astype(dtype) for place, shape in enumerate(shapes)}
    tensors = {name: torch.zeros(grad.shape, dtype=torch.from_numpy(grad).dtype) for name, grad in grads.items()}
    for name, tensor in tensors.items():
        tensor.requires_grad_()
        tensor.grad = torch.tensor(grads[name])
    if by_value:
        ClipByValue(limit).apply(grads)
        torch.nn.utils.clip_grad_value_(list(tensors.values()), limit)
    else:
        norm = ClipByNorm(limit).apply(grads)
        theirs = torch.nn.utils.clip_grad_norm_(list(tensors.values()), limit)
        assert norm == pytest.approx(float(theirs), rel=TOLERANCE[dtype])
    for name, tensor in tensors.items():
        check_same(grads[name], tensor.grad.numpy(), name)


def course(make: Callable[[Any], Any], steps: int) -> list[float]:
    """The rates that a schedule of PyTorch's gives, from 1 on."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@examples
@given(
    name=st.sampled_from(["step", "multi_step", "exponential", "polynomial", "linear", "cosine"]),
    decay_steps=st.integers(1, 30),
    warmup=st.integers(0, 9),
    factor=st.floats(0.05, 0.95),
    power=st.sampled_from([0.5, 1.0, 2.0]),
    final=st.sampled_from([0.0, 0.1]),
    milestones=st.sets(st.integers(10, 60), min_size=1, max_size=5),
)
def test_rates(
    name: ScheduleName,
    decay_steps: int,
    warmup: int,
    factor: float,
    power: float,
    final: float,
    milestones: set[int],
) -> None:
    final = final if name == "cosine" else 0.0
    rate = LearningRate(
        base=1.0,
        at_batch=1,
        warmup_steps=warmup,
        schedule=name,
        decay_steps=decay_steps,
        final_fraction=final,
        power=power,
        factor=factor,
        milestones=tuple(sorted(milestones)),
    )
    schedules = torch.optim.lr_scheduler
    after: dict[str, Callable[[Any], Any]] = {
        "step": lambda each: schedules.StepLR(each, decay_steps, factor),
        "multi_step": lambda each: schedules.MultiStepLR(each, [m - warmup for m in sorted(milestones)], factor),
        "exponential": lambda each: schedules.ExponentialLR(each, factor ** (1 / decay_steps)),
        "polynomial": lambda each: schedules.PolynomialLR(each, decay_steps, power),
        "linear": lambda each: schedules.PolynomialLR(each, decay_steps, 1.0),
        "cosine": lambda each: schedules.CosineAnnealingLR(each, decay_steps, final),
    }
    # PyTorch's cosine rises again
    steps = decay_steps + 1 if name == "cosine" else 60
    expected = course(after[name], steps)
    assert [rate.at(warmup + step, global_batch=1) for step in range(steps)] == pytest.approx(expected, abs=1e-12)
    if warmup:
        first = 1 / (warmup + 1)
        rising = course(lambda each: schedules.LinearLR(each, first, 1.0, warmup), warmup)
        assert [rate.at(step, global_batch=1) for step in range(warmup)] == pytest.approx(rising, rel=1e-12)
