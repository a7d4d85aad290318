"""Tile programs against whole arrays."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.simulation import simulate
from sim.chip.counters import KernelTiming
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.cases import data_for

TOLERANCE: Final = {"fp64": 1e-12, "fp32": 1e-5, "int16": 0.0, "int8": 0.0}


def relative_error(found: Array, expected: Array) -> float:
    """max|a−b| / max|b|."""
    exact = expected.astype(np.float64)  # differences of integers may leave their range
    return float(np.max(np.abs(found - exact))) / (float(np.max(np.abs(exact))) or 1.0)


def check_tiles(
    kernel: Kernel, processor: ProcessorSpec, *, tolerance: float | None = None, partly: bool = False
) -> KernelTiming:
    """Every array of a run on random data is the reference's; its timing.

    ``partly``: the kernel leaves some numbers unwritten, which then are NaN in both.
    """
    arrays = data_for(kernel)
    expected = {name: array.copy() for name, array in arrays.items()}
    kernel.reference(expected)
    timing = simulate(kernel, processor=processor, data=arrays)
    limit = TOLERANCE[kernel.dtype] if tolerance is None else tolerance
    for name, array in arrays.items():
        unwritten = np.isnan(expected[name])
        assert partly or not unwritten.any(), (kernel, name)
        assert np.array_equal(unwritten, np.isnan(array)), (kernel, name)
        found, wanted = np.where(unwritten, 0, array), np.where(unwritten, 0, expected[name])
        assert relative_error(found, wanted) <= limit, (kernel, name)
    return timing
