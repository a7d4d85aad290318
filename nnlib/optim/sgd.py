"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnlib.layers.layer import Array
from nnlib.optim.state import State, decay_of, zeros


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: ``v = μ·v + g + λ·w``; ``w -= lr·v`` (or ``lr·(g + λ·w + μ·v)`` with Nesterov).

    ``decay_vectors``: whether the weight decay λ holds for biases and other vectors too; so in all optimisers.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_vectors: bool = True

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero velocities."""
        return zeros(("velocity",), parameters)

    def decay(self, *, axes: int) -> float:
        """The weight decay of a tensor with so many axes."""
        return decay_of(self.weight_decay, axes=axes, decay_vectors=self.decay_vectors)

    def update(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], state: State, *, rate: float) -> None:
        """One step of size ``rate``."""
        for name, weight in parameters.items():
            velocity = state[f"velocity:{name}"]
            step = grads[name] + self.decay(axes=weight.ndim) * weight
            velocity *= self.momentum
            velocity += step
            weight -= rate * (step + self.momentum * velocity if self.nesterov else velocity)
