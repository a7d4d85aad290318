"""Calibration: the range of activations from a sample of data, before inference in integers.

``max`` takes the largest magnitude seen; ``percentile`` cuts the rare ones off; ``mse`` takes the threshold with the
least mean squared error of quantised against exact numbers, what is cut off included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnlib.precision.fixed import quantise
from nnlib.precision.formats import IntegerName
from nnlib.precision.scale import step_for

Method: TypeAlias = Literal["max", "percentile", "mse"]

CANDIDATES: Final = 80
"""Thresholds that ``mse`` tries, evenly from the largest magnitude down."""
LEAST_SHARE: Final = 0.2
"""The smallest of them, as a share of the largest magnitude."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a threshold is chosen. ``percentile``: of magnitudes that shall fit, of that method only."""

    method: Method = "max"
    percentile: float = 99.9
    power_of_two: bool = False

    def threshold(self, values: ArrayLike, storage: IntegerName) -> float:
        """The magnitude that shall become the largest integer. Raises ValueError if there are no values."""
        found = np.abs(np.asarray(values, dtype=np.float64)).reshape(-1)
        if not found.size:
            raise ValueError("no values to calibrate on")
        if self.method == "percentile":
            return float(np.percentile(found, self.percentile))
        largest = float(found.max())
        if self.method == "max" or largest == 0:
            return largest
        candidates = largest * np.linspace(1, LEAST_SHARE, CANDIDATES)
        errors = [self._error(found, float(threshold), storage) for threshold in candidates]
        return float(candidates[int(np.argmin(errors))])

    def step(self, values: ArrayLike, storage: IntegerName) -> float:
        """The step of a tensor."""
        return self._step(self.threshold(values, storage), storage)

    def channel_steps(self, values: ArrayLike, storage: IntegerName) -> NDArray[np.float64]:
        """A step for each place of the last axis."""
        array = np.asarray(values)
        columns = array.reshape(-1, array.shape[-1]).T
        return np.array([self.step(column, storage) for column in columns])

    def _step(self, threshold: float, storage: IntegerName) -> float:
        return float(step_for(threshold, storage, power_of_two=self.power_of_two))

    def _error(self, values: NDArray[np.float64], threshold: float, storage: IntegerName) -> float:
        step = self._step(threshold, storage)
        whole, _ = quantise(values, step, storage)
        return float(np.mean((whole * step - values) ** 2))


@dataclass
class Observer:
    """Collects the magnitudes of tensors by name over the batches of a calibration sample."""

    seen: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def see(self, name: str, values: ArrayLike) -> None:
        """Another batch of a tensor."""
        self.seen.setdefault(name, []).append(np.abs(np.asarray(values, dtype=np.float64)).reshape(-1))

    def steps(self, calibration: Calibration, storage: IntegerName) -> dict[str, float]:
        """The step of every tensor seen."""
        return {name: calibration.step(np.concatenate(parts), storage) for name, parts in self.seen.items()}
