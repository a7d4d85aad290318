"""Numbers times a factor, plus another."""

from __future__ import annotations

import numpy as np

from nnlib.ops.in_blocks import Array


def affine_forward(x: Array, *, factor: float = 1.0, offset: float = 0.0, out: Array | None = None) -> Array:
    """``factor·x + offset``."""
    y: Array = np.multiply(x, factor, out=out)
    if offset:
        y += offset
    return y
