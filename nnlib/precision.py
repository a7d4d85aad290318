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


def dtype_name(dtype: np.dtype[np.floating]) -> DTypeName:
    """The name of a NumPy dtype. Raises ValueError for one that the kernels do not have."""
    for name, known in DTYPES.items():
        if known == dtype:
            return name
    raise ValueError(f"no kernels for {dtype}; there are {', '.join(DTYPES)}")
