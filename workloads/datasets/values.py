"""What is done to the pixels of an image before a network takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Values:
    """Pixels times ``scale``; then, if given, less ``mean`` and over ``deviation``, one number for each channel."""

    scale: float = 1.0
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    def of(self, pixels: npt.NDArray[np.generic]) -> Images:
        """Pixels (..., channels) as the network takes them."""
        values: Images = pixels.astype(np.float64) * self.scale
        if self.mean is not None:
            values -= np.array(self.mean)
        if self.deviation is not None:
            values /= np.array(self.deviation)
        return values


AS_THEY_ARE: Final = Values()
"""Pixels as numbers, no more."""
