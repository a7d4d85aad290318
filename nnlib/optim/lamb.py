"""Layer-wise adaptive moments for large batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array
from nnlib.optim.adam import MOMENTS, corrections, follow
from nnlib.optim.state import State, decay_of, zeros


@dataclass(frozen=True)
class LAMB:
    """LAMB (You et al. 2020): the direction ``u = m̂/(√v̂ + ε) + λ·w`` of Adam's moments, ``w -= lr·|w|/|u|·u``.

    Vectors (biases) keep the ratio 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
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

    def ratio_of_norms(self, *, weight_norm: float, direction_norm: float, axes: int) -> float:
        """The factor of a tensor's rate from the norms; 1 for vectors and where a norm is 0."""
        if axes < 2 or weight_norm == 0 or direction_norm == 0:
            return 1.0
        return weight_norm / direction_norm

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate`` times each tensor's ratio."""
        state["step"] += 1
        for name, weight in parameters.items():
            direction = self.direction(name, weight, grads[name], state)
            ratio = self.ratio_of_norms(
                weight_norm=float(np.linalg.norm(weight)),
                direction_norm=float(np.linalg.norm(direction)),
                axes=weight.ndim,
            )
            weight -= rate * ratio * direction

    def direction(self, name: str, weight: Array, grad: Array, state: State) -> Array:
        """A tensor's direction once the step is counted; its moments follow the gradient."""
        first, second = self.corrections(float(state["step"][0]))
        mean, square = state[f"mean:{name}"], state[f"square:{name}"]
        follow(mean, square, grad, beta1=self.beta1, beta2=self.beta2)
        direction: Array = mean / first / (np.sqrt(square / second) + self.epsilon)
        direction += self.decay(axes=weight.ndim) * weight
        return direction
