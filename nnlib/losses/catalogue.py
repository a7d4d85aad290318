"""The kinds of losses by name, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nnlib.lazy_table import LazyTable

FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "binary_cross_entropy": ("BinaryCrossEntropy",),
    "cross_entropy": ("CrossEntropy",),
    "ctc": ("CtcLoss",),
    "dice": ("Dice",),
    "gaussian_kl": ("GaussianKL",),
    "regression": ("L1", "MeanSquaredError", "SmoothL1"),
}
"""What is found in which file."""
LOSSES: Final = LazyTable({name: f"nnlib.losses.{file}:{name}" for file, names in FILES.items() for name in names})
