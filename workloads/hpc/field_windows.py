"""Fields cut into the samples of a network: out of the array that the core steps, whose layer of neighbours is left."""

from __future__ import annotations

import numpy as np

from nnlib.kernels.arranging.copying import Copy, Move
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.grids.weather_step import WeatherStep
from sim.machine.spec import ProcessorSpec
from workloads.hpc.node_costs import kernel_time, launch_time
from workloads.hpc.numerics import Floats, Numerics, compute

Windows = tuple[int, int]
"""How many fields a process has, from south to north and from west to east."""


def window_copies(kernel: WeatherStep, counts: Windows) -> tuple[Copy, ...]:
    """A copy for each of the fields, row after row. Raises ValueError unless they divide the process's points."""
    if kernel.rows % counts[0] or kernel.columns % counts[1]:
        raise ValueError(f"{counts} fields do not divide {kernel.rows} x {kernel.columns} points")
    size = kernel.rows // counts[0], kernel.columns // counts[1], kernel.channels
    return tuple(
        Copy(
            Move(
                source=kernel.parameters()[0].shape,
                target=size,
                size=size,
                source_start=(1 + row * size[0], 1 + column * size[1], 0),
                target_start=(0, 0, 0),
                axes=(0, 1, 2),
            ),
            kernel.dtype,
            label="window",
        )
        for row, column in np.ndindex(counts)
    )


def cut_windows(
    part: Floats, kernel: WeatherStep, counts: Windows, *, processor: ProcessorSpec, numerics: Numerics
) -> Floats:
    """The fields of ``part`` (rows + 2, columns + 2, channels): (fields, rows, columns, channels)."""
    copies = window_copies(kernel, counts)
    fields = np.empty((len(copies), *copies[0].move.target))
    for copy, field in zip(copies, fields, strict=True):
        compute(copy, {"x": part, "y": field}, processor=processor, numerics=numerics)
    return fields


def time_windows(kernel: WeatherStep, counts: Windows, *, clock: KernelClock, persistent_threads: bool) -> int:
    """Picoseconds until a core group's fields are cut, one launch for each."""
    launch = launch_time(clock.processor, persistent_threads=persistent_threads)
    return sum(launch + kernel_time(copy, clock) for copy in window_copies(kernel, counts))
