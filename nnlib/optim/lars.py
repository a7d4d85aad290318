"""Layer-wise adaptive rate scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array
from nnlib.optim.state import State, decay_of, zeros


@dataclass(frozen=True)
class LARS:
    """Layer-wise adaptive rate scaling (You et al. 2017): each tensor's step is scaled by ``η·|w| / (|g| + λ·|w|)``.

    Vectors (biases) keep the ratio 1.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    trust: float = 0.001
    decay_vectors: bool = True

    def initial_state(self, parameters: Mapping[str, Array]) -> State:
        """Zero velocities."""
        return zeros(("velocity",), parameters)

    def decay(self, *, axes: int) -> float:
        """The weight decay of a tensor with so many axes."""
        return decay_of(self.weight_decay, axes=axes, decay_vectors=self.decay_vectors)

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
            ratio = self.ratio(weight, grads[name])
            self.move(weight, grads[name], state[f"velocity:{name}"], rate=rate, ratio=ratio)

    def move(self, weight: Array, grad: Array, velocity: Array, *, rate: float, ratio: float) -> None:
        """A tensor's step of size ``rate · ratio``, in place."""
        velocity *= self.momentum
        velocity += rate * ratio * (grad + self.decay(axes=weight.ndim) * weight)
        weight -= velocity
