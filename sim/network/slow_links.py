"""Links that carry less than they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.machine.network_spec import NoiseSpec
from sim.network.topology import MEMORY, NODE_BOTH, SlowLink, Topology


def with_slow_links(topology: Topology, noise: NoiseSpec, *, seed: int) -> Topology:
    """``topology`` with ``noise.slow_links`` of its links slow, one way each, drawn from the seed; never more than all.

    Nodes' own links and those between them are as likely each.
    """
    kinds = [number for number in range(len(topology.kinds)) if number not in (NODE_BOTH, MEMORY)]
    ends = np.cumsum([topology.kinds[number].count for number in kinds])
    count = min(noise.slow_links, int(ends[-1]))
    drawn = np.sort(np.random.default_rng(seed).choice(int(ends[-1]), count, replace=False))
    slow = []
    for link in drawn.tolist():
        at = int(np.searchsorted(ends, link, side="right"))
        first = 0 if at == 0 else int(ends[at - 1])
        slow.append(SlowLink(kinds[at], link - first, noise.slow_link_factor))
    return replace(topology, slow_links=tuple(slow))
