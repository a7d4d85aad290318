"""How a program's kernels compute: whole arrays at once, or in the tiles of a core group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.simulation import compute_kernel
from sim.machine.spec import ProcessorSpec

Floats = NDArray[np.float64]
Numerics: TypeAlias = Literal["layer", "tile"]


def compute(
    kernel: Kernel, arrays: Mapping[str, NDArray[Any]], *, processor: ProcessorSpec, numerics: Numerics
) -> None:
    """Compute in place; the numbers are the same up to the order of summation."""
    if numerics == "tile":
        compute_kernel(kernel, processor=processor, data=arrays)
    else:
        kernel.reference(arrays)
