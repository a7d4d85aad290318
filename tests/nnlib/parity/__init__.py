"""Comparisons with PyTorch: its layouts, and what counts as the same.

Here images are (B, H, W, C) and weights (kh, kw, Ni, No); there (B, C, H, W) and (No, Ni, kh, kw).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def nchw(images: Array) -> Array:
    """Images as PyTorch has them."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def nhwc(images: Array) -> Array:
    """PyTorch's images as they are here."""
    return images.transpose(0, 2, 3, 1)


def oihw(weight: Array) -> Array:
    """Convolution weights as PyTorch has them."""
    return np.ascontiguousarray(weight.transpose(3, 2, 0, 1))


def hwio(weight: Array) -> Array:
    """PyTorch's convolution weights as they are here."""
    return weight.transpose(2, 3, 1, 0)


def check_same(found: Array, expected: Array, what: str, *, tolerance: float | None = None, least: float = 0.0) -> None:
    """Same shape and dtype; the largest difference is small against the largest number, or against ``least``."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
    limit = TOLERANCE[expected.dtype.name] if tolerance is None else tolerance
    error = float(np.max(np.abs(found - expected), initial=0.0))
    assert error <= limit * float(np.max(np.abs(expected), initial=least)), (what, error)
