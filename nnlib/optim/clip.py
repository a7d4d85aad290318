"""Clipping of gradients before the optimiser's step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np

from nnlib.layers.layer import Array

SMALL = 1e-6
"""Added to the norm that the limit is divided by, as PyTorch does."""


@dataclass(frozen=True)
class ClipByNorm:
    """All gradients are scaled alike, so that the norm of all their numbers together is at most ``limit``.

    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """

    limit: float

    def factor(self, norm: float) -> float:
        """What gradients of this norm are multiplied by."""
        return min(1.0, self.limit / (norm + SMALL))

    def apply(self, grads: Mapping[str, Array]) -> float:
        """Scale the gradients in place; their norm before."""
        norm = sqrt(sum(float(np.vdot(grad, grad)) for grad in grads.values()))
        factor = self.factor(norm)
        if factor < 1:
            for grad in grads.values():
                grad *= factor
        return norm


@dataclass(frozen=True)
class ClipByValue:
    """Each number of the gradients is kept within ±``limit``."""

    limit: float

    def apply(self, grads: Mapping[str, Array]) -> None:
        """In place."""
        for grad in grads.values():
            np.clip(grad, -self.limit, self.limit, out=grad)


Clip: TypeAlias = ClipByNorm | ClipByValue
