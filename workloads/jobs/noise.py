"""How much later than others each rank is after computing: jitter, the operating system, slow nodes.

Ranks of a node share its slowness; all else is each rank's own. The numbers are drawn from the seed alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.machine.network_spec import NoiseSpec

Floats = NDArray[np.float64]


def late_seconds(noise: NoiseSpec, *, seconds: float, nodes: int, ranks_per_node: int, seed: int) -> Floats:
    """What each rank (ranks,) needs beyond ``seconds`` of computing; never negative.

    Jitter is normal around ``seconds`` and cut off at zero: a rank is never early by more than others wait for anyhow.
    The operating system comes as a Poisson process. Slow nodes are spread evenly over the machine.
    """
    ranks = nodes * ranks_per_node
    rng = np.random.default_rng(seed)
    late: Floats = noise.compute_jitter * seconds * rng.standard_normal(ranks)
    late += _system(noise, seconds=seconds, ranks=ranks, rng=rng)
    slow = min(noise.slow_nodes, nodes)
    if slow:
        places = np.arange(slow) * nodes // slow
        each = np.zeros(nodes)
        each[places] = (noise.slow_node_factor - 1.0) * seconds
        late += np.repeat(each, ranks_per_node)
    return late.clip(min=0.0)


def _system(noise: NoiseSpec, *, seconds: float, ranks: int, rng: np.random.Generator) -> Floats:
    """Seconds that the operating system takes of each rank."""
    times = rng.poisson(seconds / noise.system_period_seconds, ranks)
    if noise.system_distribution == "fixed":
        return np.multiply(times, noise.system_duration_seconds, dtype=np.float64)
    # the sum of n exponential times is a gamma time of shape n; of shape 0 it is 0
    taken = np.zeros(ranks)
    some = np.flatnonzero(times)
    taken[some] = rng.gamma(times[some]) * noise.system_duration_seconds
    return taken
