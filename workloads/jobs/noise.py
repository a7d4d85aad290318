"""How much later than others each rank is after computing: jitter, the operating system, slow nodes.

Ranks of a node share its slowness; all else is each rank's own. A rank's numbers follow from the seed and its own
number, however many ranks there are.
"""

from __future__ import annotations

import numpy as np

from sim.machine.network_spec import NoiseSpec
from workloads.datasets.counter import Counter, Floats, Integers

SUMMED_TIMES = 100
"""Most times of the operating system in a step that are drawn one by one."""


def late_seconds(noise: NoiseSpec, *, seconds: float | Floats, nodes: int, ranks_per_node: int, seed: int) -> Floats:
    """What each rank (ranks,) needs beyond ``seconds`` of computing, of all or of each (ranks,); never negative.

    Jitter is normal around ``seconds`` and cut off at zero: a rank is never early by more than others wait for anyhow.
    Slow nodes are spread evenly over the machine.
    """
    ranks, counter = np.arange(nodes * ranks_per_node), Counter(seed=seed)
    late: Floats = noise.compute_jitter * seconds * counter.normal("jitter", ranks, 1)[:, 0]
    late += _system(noise, seconds=seconds, ranks=ranks, counter=counter)
    slow = min(noise.slow_nodes, nodes)
    if slow:
        more = np.zeros(nodes)
        more[np.arange(slow) * nodes // slow] = noise.slow_node_factor - 1.0
        late += np.repeat(more, ranks_per_node) * seconds
    return np.maximum(late, 0.0)


def _system(noise: NoiseSpec, *, seconds: float | Floats, ranks: Integers, counter: Counter) -> Floats:
    """Seconds that the operating system takes of each rank: it comes once a period, first at a random moment."""
    times = np.floor(seconds / noise.system_period_seconds + counter.uniform("phase", ranks, 1)[:, 0])
    if noise.system_distribution == "fixed":
        return np.multiply(times, noise.system_duration_seconds, dtype=np.float64)
    most = int(times.max())
    if most > SUMMED_TIMES:
        # the sum of so many is as good as normal
        sums = times + np.sqrt(times) * counter.normal("durations", ranks, 1)[:, 0]
        many: Floats = np.maximum(sums, 0.0) * noise.system_duration_seconds
        return many
    taken: Floats = np.zeros(len(ranks))
    for number in range(most):
        taken -= np.where(number < times, np.log1p(-counter.uniform(f"duration {number}", ranks, 1)[:, 0]), 0.0)
    taken *= noise.system_duration_seconds
    return taken
