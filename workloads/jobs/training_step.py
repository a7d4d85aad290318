"""The time of one data-parallel training step, from a node's step to the last rank's finish.

Every node does the same work; the ranks' clocks begin to differ in the all-reduce, where links are shared. A gradient
bucket's all-reduce may run under the rest of the backward pass; what does not is exposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.machine.spec import MachineSpec
from sim.network.communication import Communicator
from workloads.jobs.gradients import communicator, gradient_parts
from workloads.jobs.node_step import NodeStep
from workloads.mapping import Mapping as WorkloadMapping


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


def time_step(
    *, node: NodeStep, machine: MachineSpec, mapping: WorkloadMapping, nodes: int, known: Communicator | None = None
) -> StepTiming:
    """Time of one step on ``nodes`` nodes when all ranks start together.

    ``known``: what adds the gradients, if it has been made before; it remembers what it has timed.
    """
    adding = known or communicator(machine=machine, mapping=mapping, nodes=nodes, item_bytes=node.item_bytes)
    topology = adding.topology
    computed = node.gradient_seconds
    clocks = np.full(topology.ranks, computed)
    communicating = 0.0
    moved = 0
    if topology.ranks > 1:
        sent = adding.communicate(gradient_parts(node, mapping), start=np.zeros(topology.ranks))
        clocks = np.maximum(clocks, sent.finish)
        communicating, moved = sent.busy_seconds, sent.bytes
    exposed = float(clocks.max()) - computed
    seconds = float(clocks.max()) + node.update_seconds
    shares = {**node.reasons, "communication_exposed": exposed}
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
