"""How the numbers of fresh parameters are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from nnlib.layers.layer import Array, Shape

Distribution: TypeAlias = Literal["normal", "uniform", "zeros"]
Fan: TypeAlias = Literal["in", "mean", "none"]


@dataclass(frozen=True)
class Initial:
    """Numbers of mean 0 and variance ``gain`` over the fan: what a unit takes in, the mean of that and what takes it.

    ``uniform`` ones reach as far as that variance says: to √(3 · variance) on both sides.
    """

    distribution: Distribution
    gain: float = 1.0
    fan: Fan = "none"

    def draw(
        self, shape: Shape, *, fan_in: int, fan_out: int, rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> Array:
        """Numbers of ``shape``, drawn in float64 whatever the dtype; ``fan_out``: how many units take a unit in."""
        match self.fan:
            case "in":
                fan = float(fan_in)
            case "mean":
                fan = (fan_in + fan_out) / 2
            case "none":
                fan = 1.0
        deviation = np.sqrt(self.gain / fan)
        match self.distribution:
            case "normal":
                drawn = rng.standard_normal(shape) * deviation
            case "uniform":
                drawn = rng.uniform(-1.0, 1.0, shape) * (np.sqrt(3.0) * deviation)
            case "zeros":
                drawn = np.zeros(shape)
        numbers: Array = drawn.astype(dtype)
        return numbers


def normal(deviation: float) -> Initial:
    """Normal numbers of a standard deviation whatever the fans are."""
    return Initial("normal", deviation**2)


HE_NORMAL: Final = Initial("normal", 2.0, "in")
HE_UNIFORM: Final = Initial("uniform", 2.0, "in")
"""He et al. (2015): behind rectified units."""
XAVIER_NORMAL: Final = Initial("normal", 1.0, "mean")
XAVIER_UNIFORM: Final = Initial("uniform", 1.0, "mean")
"""Glorot and Bengio (2010)."""
LECUN_NORMAL: Final = Initial("normal", 1.0, "in")
"""LeCun et al. (1998): for self-normalising units as well (Klambauer et al., 2017)."""
ZEROS: Final = Initial("zeros")
