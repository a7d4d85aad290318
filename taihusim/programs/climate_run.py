"""A climate workflow that computes: steps of the core on virtual processes, each of which then looks at its own fields.

The fields never leave their process: the arrays that the core steps are the samples of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nnlib.batch import Arrays
from nnlib.precision import DTYPES
from sim.chip.memory import Array
from taihusim.precision import inference_device
from taihusim.programs.climate import core_step
from taihusim.setup import Setup
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.numerics import Floats, Numerics
from workloads.hpc.weather import Grid, Weather


@dataclass(frozen=True, kw_only=True)
class ClimateRun:
    """``fields`` (rows, columns, channels) of the globe after the steps; ``outputs``: the network's for each point.

    ``halo_bytes``: sent between processes.
    """

    fields: Floats
    outputs: Array
    halo_bytes: int

    @property
    def classes(self) -> Array:
        """What the network says each point is, (rows, columns)."""
        found: Array = self.outputs.argmax(axis=-1)
        return found


def run_climate(
    workload: ClimateWorkload,
    *,
    setup: Setup,
    grid: Grid,
    globe: Floats,
    variables: Mapping[str, Array],
    sample: Arrays | None = None,
    say: Callable[[str, float | None], None] = lambda text, share: None,
) -> ClimateRun:
    """Compute: ``globe`` (rows, columns, channels) for the workload's steps on a grid of processes, each of which then
    looks through its own fields with the network of ``setup`` and the weights ``variables``.

    ``sample``: what a network of integers is calibrated on. Raises BadInput as
    :func:`taihusim.programs.climate.field_shape`, ValueError unless the grid divides the globe.
    """
    core = Weather(core_step(setup, workload), grid, setup.machine.processor, globe, _numerics(setup))
    for step in range(workload.steps):
        say(f"step {step + 1:,} of {workload.steps:,}", step / workload.steps)
        core.step()
    device, name = inference_device(setup, sample), setup.graph.inputs[0].name
    processes = grid[0] * grid[1]
    parts = []
    for rank in range(processes):
        say(f"fields of process {rank + 1:,} of {processes:,}", rank / processes)
        samples = core.windows(rank, workload.windows).astype(DTYPES[setup.mapping.dtype], copy=False)
        found = device.outputs(variables=dict(variables), inputs={name: samples})
        parts.append(side_by_side(found[setup.graph.output], workload.windows))
    return ClimateRun(fields=core.whole(), outputs=side_by_side(np.stack(parts), grid), halo_bytes=core.sent["bytes"])


def side_by_side(samples: Array, counts: Grid) -> Array:
    """Samples (n, rows, columns, ...) as one array: ``counts`` of them from south to north and from west to east."""
    rows, columns = samples.shape[1:3]
    cut = samples.reshape(*counts, *samples.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(counts[0] * rows, counts[1] * columns, *samples.shape[3:]))


def _numerics(setup: Setup) -> Numerics:
    return "tile" if setup.mapping.numerics == "tile" else "layer"
