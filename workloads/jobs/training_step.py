"""The time of one data-parallel training step, from a node's step to the last rank's finish.

Every node does the same work; the ranks' clocks begin to differ in the all-reduce, where links are shared. A gradient
bucket's all-reduce may run under the rest of the backward pass; what does not is exposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.machine.spec import MachineSpec
from sim.network.communication import Communicator
from workloads.jobs.gradients import communicator, gradient_parts
from workloads.jobs.node_step import NodeStep
from workloads.mapping import Mapping as WorkloadMapping

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StepTiming:
    """One step: ``seconds`` until the slowest rank is through; ``shares`` (fractions of it) add up to 1.

    ``communication_seconds``: in which gradients were under way, hidden or not. ``busiest`` names the layer and kernel
    that take most of the time inside a node. ``network_bytes``: sent and received by a node, on average.
    """

    seconds: float
    communication_seconds: float
    communication_exposed_seconds: float
    shares: Mapping[str, float]
    busiest: str
    launches: int
    launch_seconds: float
    gradient_bytes: int
    ranks: int
    network_bytes: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which :func:`step_timing_of` makes the same timing again, to the bit."""
        return asdict(self)


def step_timing_of(fields: Mapping[str, Any]) -> StepTiming:
    """The timing of :meth:`StepTiming.as_json`. Raises TypeError for other values."""
    return StepTiming(**fields)


def time_step(
    *,
    node: NodeStep,
    machine: MachineSpec,
    mapping: WorkloadMapping,
    nodes: int,
    known: Communicator | None = None,
    late: Floats | None = None,
) -> StepTiming:
    """Time of one step on ``nodes`` nodes when all ranks start together.

    ``known``: what adds the gradients, if it has been made before; it remembers what it has timed. ``late``: seconds by
    which each rank (ranks,) computes longer than ``node`` says, taken to be lost at the step's beginning.
    """
    adding = known or communicator(machine=machine, mapping=mapping, nodes=nodes, item_bytes=node.item_bytes)
    topology = adding.topology
    computed = node.gradient_seconds
    start = np.zeros(topology.ranks) if late is None else late
    clocks = start + computed
    communicating = 0.0
    moved = 0
    if topology.ranks > 1:
        sent = adding.communicate(gradient_parts(node, mapping), start=start)
        clocks = np.maximum(clocks, sent.finish)
        communicating, moved = sent.busy_seconds, sent.bytes
    jitter = float(start.max())
    exposed = float(clocks.max()) - (computed + jitter)
    seconds = float(clocks.max()) + node.update_seconds
    shares = {**node.reasons, "communication_exposed": exposed}
    if late is not None:
        shares["jitter"] = jitter
    return StepTiming(
        seconds=seconds,
        communication_seconds=communicating,
        communication_exposed_seconds=exposed,
        shares={name: value / seconds for name, value in shares.items()},
        busiest=node.busiest,
        launches=node.launches,
        launch_seconds=node.launch_seconds,
        gradient_bytes=node.gradient_bytes,
        ranks=topology.ranks,
        network_bytes=2 * moved / nodes,
    )
