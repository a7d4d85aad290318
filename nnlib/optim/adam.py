"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array
from nnlib.optim.state import State, decay_of, zeros

MOMENTS = ("mean", "square")


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015) with bias correction; the weight decay is a part of the gradient."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decay_vectors: bool = True

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero moments, zero steps."""
        return {"step": np.zeros(1), **zeros(MOMENTS, parameters)}

    def corrections(self, step: float) -> tuple[float, float]:
        """``1 − β1^t`` and ``1 − β2^t`` of step t."""
        return corrections(step, beta1=self.beta1, beta2=self.beta2)

    def decay(self, *, axes: int) -> float:
        """The weight decay of a tensor with so many axes."""
        return decay_of(self.weight_decay, axes=axes, decay_vectors=self.decay_vectors)

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate``."""
        state["step"] += 1
        first, second = self.corrections(float(state["step"][0]))
        for name, weight in parameters.items():
            mean, square = state[f"mean:{name}"], state[f"square:{name}"]
            step = grads[name] + self.decay(axes=weight.ndim) * weight
            follow(mean, square, step, beta1=self.beta1, beta2=self.beta2)
            weight -= rate / first * mean / (np.sqrt(square / second) + self.epsilon)


@dataclass(frozen=True)
class AdamW:
    """Adam whose weight decay is decoupled: ``w -= lr·λ·w`` beside the step (Loshchilov and Hutter 2019)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    decay_vectors: bool = True

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero moments, zero steps."""
        return {"step": np.zeros(1), **zeros(MOMENTS, parameters)}

    def corrections(self, step: float) -> tuple[float, float]:
        """``1 − β1^t`` and ``1 − β2^t`` of step t."""
        return corrections(step, beta1=self.beta1, beta2=self.beta2)

    def decay(self, *, axes: int) -> float:
        """The weight decay of a tensor with so many axes."""
        return decay_of(self.weight_decay, axes=axes, decay_vectors=self.decay_vectors)

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate``."""
        state["step"] += 1
        first, second = self.corrections(float(state["step"][0]))
        for name, weight in parameters.items():
            mean, square = state[f"mean:{name}"], state[f"square:{name}"]
            follow(mean, square, grads[name], beta1=self.beta1, beta2=self.beta2)
            weight *= 1 - rate * self.decay(axes=weight.ndim)
            weight -= rate / first * mean / (np.sqrt(square / second) + self.epsilon)


def corrections(step: float, *, beta1: float, beta2: float) -> tuple[float, float]:
    """``1 − β1^t`` and ``1 − β2^t`` of step t: what the moments' weights add up to."""
    return 1 - beta1**step, 1 - beta2**step


def follow(mean: Array, square: Array, step: Array, *, beta1: float, beta2: float) -> None:
    """The fading means of ``step`` and of its square, in place."""
    mean *= beta1
    mean += (1 - beta1) * step
    square *= beta2
    square += (1 - beta2) * step * step
