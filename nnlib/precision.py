"""Number formats of the simulated machine's kernels."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np

DTypeName: TypeAlias = Literal["fp64", "fp32"]

DTYPES: Final[dict[DTypeName, np.dtype[np.floating]]] = {
    "fp64": np.dtype(np.float64),
    "fp32": np.dtype(np.float32),
}
"""The SW26010 computes both at the same peak; fp32 halves the bytes (TACO18 §3.7)."""
