"""What an optimiser keeps from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from nnlib.layers.layer import Array

State: TypeAlias = dict[str, Array]
"""Arrays by ``KIND:PARAMETER``, and the step count under ``step`` (shape (1,)) where the optimiser needs it."""


def zeros(kinds: tuple[str, ...], parameters: Mapping[str, Array]) -> State:
    """Arrays of zeros like the parameters, of each kind."""
    return {f"{kind}:{name}": np.zeros_like(array) for name, array in parameters.items() for kind in kinds}


def decay_of(weight_decay: float, *, axes: int, decay_vectors: bool) -> float:
    """The weight decay of a tensor with ``axes`` axes: of vectors (biases, scales) only where it is asked for."""
    return weight_decay if decay_vectors or axes > 1 else 0.0
