"""Optimisers against PyTorch's over several steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.optim import SGD, Adam, Optimizer
from tests.nnlib.parity import TOLERANCE, check_same

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
SHAPES = {"c.weight": (3, 2, 4, 5), "c.bias": (5,), "l.weight": (7, 3)}
RATES = (0.1, 0.03, 0.2, 0.01, 0.05)


def check(optimizer: Optimizer, make: Callable[[list[Any]], Any], dtype: str, seed: int) -> None:
    """Five steps, each with another rate and other gradients."""
    rng = np.random.default_rng(seed)
    parameters = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.items()}
    state, their_optimizer = optimizer.initial_state(parameters), make(list(theirs.values()))
    for step, rate in enumerate(RATES, start=1):
        grads = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
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
