"""Ranks that are late under a strategy: jitter, the operating system and slow nodes, felt by all that wait for them.

What a rank is late in a step is dealt out among its passes of the micro-batches, in proportion to their time, and lost
at a pass's beginning. Ranks of a tensor group begin what they exchange, and hand on, when the last of them is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.machine.network_spec import NoiseSpec
from workloads.jobs.noise import late_seconds
from workloads.parallel.placement import Placement

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Late:
    """By which a stage's replicas (replicas,) are late in each forward and each backward pass."""

    forward: Floats
    backward: Floats


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What a stage's ranks compute: in each pass of ``micro_batches``, and in a whole step, in seconds."""

    forward: float
    backward: float
    step: float
    micro_batches: int


def late_passes(
    noise: NoiseSpec, stages: Sequence[Passes], *, placement: Placement, ranks_per_node: int, seed: int
) -> list[Late]:
    """How late each stage is. A rank's numbers follow from the seed and its own number."""
    seconds = np.empty(placement.ranks)
    for number, stage in enumerate(stages):
        seconds[placement.block(number)] = stage.step
    nodes = placement.ranks // ranks_per_node
    late = late_seconds(noise, seconds=seconds, nodes=nodes, ranks_per_node=ranks_per_node, seed=seed)
    found = []
    for number, stage in enumerate(stages):
        slowest = late[placement.block(number)].max(axis=1) / stage.micro_batches
        both = stage.forward + stage.backward
        forward = stage.forward / both if both else 1.0
        found.append(Late(forward * slowest, (1.0 - forward) * slowest))
    return found
