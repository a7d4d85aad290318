"""A collective's time, exact where that costs little: by steps and, where those cannot know, by single flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.network.flows import MOST_NODES, run_flows
from sim.network.protocol import Protocol
from sim.network.ranks import CollectiveResult, run
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from sim.network.topology import Topology

Floats = NDArray[np.float64]
Observe: TypeAlias = Callable[[Step, Floats], None]

MOST_MESSAGES: Final = 32_768
"""That are followed one by one, in about a second: halving and doubling of 1,024 ranks."""


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

    Flows only where a step's sharing is not exact, on at most 1,024 nodes and for at most 32,768 messages; where there
    are more, the result says that its contention is approximated.
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
        return timed(run_flows, observe)
    return found if observe is None else timed(run, observe)
