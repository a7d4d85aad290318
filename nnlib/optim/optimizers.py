"""Optimisers: frozen descriptions; their state is a plain dict beside the parameters, updated in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nnlib.layers.layer import Array

State: TypeAlias = dict[str, Array]
"""Arrays by ``KIND:PARAMETER``, and the step count under ``step`` (shape (1,)) where the optimiser needs it."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: ``v = μ·v + g + λ·w``; ``w -= lr·v`` (or ``lr·(g + λ·w + μ·v)`` with Nesterov)."""

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero velocities."""
        return {f"velocity:{name}": np.zeros_like(array) for name, array in parameters.items()}

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate``."""
        for name, weight in parameters.items():
            velocity = state[f"velocity:{name}"]
            step = grads[name] + self.weight_decay * weight
            velocity *= self.momentum
            velocity += step
            weight -= rate * (step + self.momentum * velocity if self.nesterov else velocity)


@dataclass(frozen=True)
class LARS:
    """Layer-wise adaptive rate scaling (You et al. 2017): each tensor's step is scaled by ``η·|w| / (|g| + λ·|w|)``.

    Vectors (biases) keep the ratio 1.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    trust: float = 0.001

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero velocities."""
        return {f"velocity:{name}": np.zeros_like(array) for name, array in parameters.items()}

    def ratio(self, weight: Array, grad: Array) -> float:
        """The factor of a tensor's rate."""
        return self.ratio_of_norms(
            weight_norm=float(np.linalg.norm(weight)), grad_norm=float(np.linalg.norm(grad)), axes=weight.ndim
        )

    def ratio_of_norms(self, *, weight_norm: float, grad_norm: float, axes: int) -> float:
        """The factor from the tensors' norms; 1 for vectors and where a norm is 0."""
        if axes < 2 or weight_norm == 0 or grad_norm == 0:
            return 1.0
        return self.trust * weight_norm / (grad_norm + self.weight_decay * weight_norm)

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate`` times each tensor's ratio."""
        for name, weight in parameters.items():
            velocity = state[f"velocity:{name}"]
            ratio = self.ratio(weight, grads[name])
            velocity *= self.momentum
            velocity += rate * ratio * (grads[name] + self.weight_decay * weight)
            weight -= velocity


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015) with bias correction."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero moments, zero steps."""
        state: State = {"step": np.zeros(1)}
        for name, array in parameters.items():
            state[f"mean:{name}"] = np.zeros_like(array)
            state[f"square:{name}"] = np.zeros_like(array)
        return state

    def corrections(self, step: float) -> tuple[float, float]:
        """``1 − β1^t`` and ``1 − β2^t`` of step t."""
        return 1 - self.beta1**step, 1 - self.beta2**step

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate``."""
        state["step"] += 1
        first, second = self.corrections(float(state["step"][0]))
        for name, weight in parameters.items():
            mean, square = state[f"mean:{name}"], state[f"square:{name}"]
            step = grads[name] + self.weight_decay * weight
            mean *= self.beta1
            mean += (1 - self.beta1) * step
            square *= self.beta2
            square += (1 - self.beta2) * step * step
            weight -= rate / first * mean / (np.sqrt(square / second) + self.epsilon)


Optimizer: TypeAlias = SGD | LARS | Adam
