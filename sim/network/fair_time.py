"""A collective's time, exact where that costs little: by steps and, where those cannot know, by single flows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.network.flows import MOST_NODES, TooMuchWork, run_flows
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult, run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology

Floats = NDArray[np.float64]
Observe: TypeAlias = Callable[[Step, Floats], None]

MOST_MESSAGES: Final = 36_000
"""That are followed one by one: halving and doubling of up to 1,024 ranks take no more than 35,318."""
MOST_WORK: Final = 1_500_000
"""Looks at flows on links, in two or three seconds: enough for 999 ranks between supernodes, not on a torus."""


def fair_time(
    schedule: Schedule,
    *,
    topology: Topology,
    protocol: Protocol,
    reduction: ReductionCost,
    start: Floats,
    item_bytes: int,
    observe: Observe | None = None,
) -> CollectiveResult:
    """Run ``schedule`` as :func:`sim.network.ranks.run` does, or as :func:`sim.network.flows.run_flows`.

    Flows only where a step's sharing is not exact, on at most 1,024 nodes, for at most 36,000 messages and as long as
    few of them depend on one another; else the result says that its contention is approximated.
    """

    def timed(way: Callable[..., CollectiveResult], observe: Observe | None) -> CollectiveResult:
        return way(
            schedule,
            topology=topology,
            protocol=protocol,
            reduction=reduction,
            start=start,
            item_bytes=item_bytes,
            observe=observe,
        )

    found = timed(run, None)
    few = topology.nodes <= MOST_NODES and found.messages <= MOST_MESSAGES
    if found.contention == "approximated" and few:
        with suppress(TooMuchWork):
            return timed(partial(run_flows, most_work=MOST_WORK), observe)
    return found if observe is None else timed(run, observe)
