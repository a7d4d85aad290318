"""A batch: what comes into a network and what should come out of it, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Arrays with the samples in front: the graph's ``inputs`` and the losses' ``targets``."""

    inputs: Arrays
    targets: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, part: slice) -> Batch:
        """Some of the samples."""
        return Batch(
            inputs={name: array[part] for name, array in self.inputs.items()},
            targets={name: array[part] for name, array in self.targets.items()},
        )

    def astype(self, dtype: np.dtype[np.floating]) -> Batch:
        """The floating-point arrays in another precision; integers stay integers."""
        return Batch(inputs=_astype(self.inputs, dtype), targets=_astype(self.targets, dtype))


def _astype(arrays: Arrays, dtype: np.dtype[np.floating]) -> Arrays:
    return {
        name: array.astype(dtype, copy=False) if np.issubdtype(array.dtype, np.floating) else array
        for name, array in arrays.items()
    }
