"""Inference on many nodes: every node answers its own requests, so nothing is reduced between nodes.

Requests come over a node's network link while the batch before them is computed, and answers go back the same way:
what limits a node is the slower of its core groups and its link. All nodes together share the tapered uplinks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from nnlib.precision import DTYPES
from nnlib.program import Program
from sim.chip.processor import add_shares
from sim.machine.spec import NetworkSpec
from workloads.step import NodeTimer, busiest_label


@dataclass(frozen=True)
class InferenceTiming:
    """One batch on every node. ``seconds`` between batches, ``latency`` from a request to its answer."""

    seconds: float
    latency: float
    compute_seconds: float
    link_seconds: float
    shares: Mapping[str, float]
    busiest: str
    launches: int
    launch_seconds: float


def time_inference(
    *, timer: NodeTimer, program: Program, outputs: Sequence[str], batch: int, nodes: int
) -> InferenceTiming:
    """Time of a batch of ``batch`` samples per node; ``outputs`` name the buffers of the results."""
    labelled = list(timer.program(program))
    segments = [*timer.once(), *(segment for _, segment in labelled)]
    computed = sum(segment.seconds for segment in segments)
    item = DTYPES[program.dtype].itemsize
    inputs = [buffer.name for buffer in program.buffers.values() if buffer.role == "input"]
    sample_bytes = [sum(prod(program.buffer(name).shape[1:]) for name in names) * item for names in (inputs, outputs)]
    arriving, leaving = (
        message_seconds(network=timer.machine.network, size=batch * each, nodes=nodes) for each in sample_bytes
    )
    seconds = max(computed, arriving, leaving)
    shares = {**add_shares(segments), "requests": seconds - computed}
    return InferenceTiming(
        seconds=seconds,
        latency=arriving + computed + leaving,
        compute_seconds=computed,
        link_seconds=max(arriving, leaving),
        shares={name: value / seconds for name, value in shares.items()},
        busiest=busiest_label(labelled),
        launches=len(labelled),
        launch_seconds=timer.launch_seconds,
    )


def message_seconds(*, network: NetworkSpec, size: int, nodes: int) -> float:
    """Seconds of a message of ``size`` bytes from outside to each node, when all nodes have one under way.

    It crosses a supernode's uplinks, which the supernode's nodes share.
    """
    sharing = min(nodes, network.supernode_nodes)
    trunk = network.uplinks_per_supernode * network.uplink_bytes_per_second / sharing
    rate = min(network.node_bytes_per_second, network.node_duplex_bytes_per_second / 2, trunk)
    eager = size < network.eager_limit_bytes
    latency = network.eager_latency_seconds if eager else network.rendezvous_latency_seconds
    return latency + network.hop_latency_seconds + size / rate
