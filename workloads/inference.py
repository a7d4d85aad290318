"""Inference on many nodes: every node answers its own requests, so nothing is reduced between nodes.

Requests come over a node's network link while the batch before them is computed, and answers go back the same way:
what limits a node is the slower of its core groups and its link. All nodes together share the tapered uplinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.machine.network_spec import NetworkSpec
from sim.network.protocol import Protocol
from sim.power.energy import Activity
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.step_energy import step_activity


@dataclass(frozen=True)
class InferenceTiming:
    """One batch on every node. ``seconds`` between batches, ``latency`` from a request to its answer.

    ``activity``: what a node does in ``seconds``, if batches follow one another.
    """

    seconds: float
    latency: float
    compute_seconds: float
    link_seconds: float
    shares: Mapping[str, float]
    busiest: str
    launches: int
    launch_seconds: float
    activity: Activity


def time_inference(*, node: NodeAnswer, network: NetworkSpec, batch: int, nodes: int) -> InferenceTiming:
    """Time of a batch of ``batch`` samples per node."""
    arriving, leaving = (
        message_seconds(network=network, size=batch * each, nodes=nodes)
        for each in (node.input_bytes, node.output_bytes)
    )
    seconds = max(node.seconds, arriving, leaving)
    shares = {**node.reasons, "requests": seconds - node.seconds}
    return InferenceTiming(
        seconds=seconds,
        latency=arriving + node.seconds + leaving,
        compute_seconds=node.seconds,
        link_seconds=max(arriving, leaving),
        shares={name: value / seconds for name, value in shares.items()},
        busiest=node.busiest,
        launches=node.launches,
        launch_seconds=node.launch_seconds,
        activity=step_activity(
            node=node,
            seconds=seconds,
            core_groups=node.core_groups,
            network_bytes=batch * (node.input_bytes + node.output_bytes),
        ),
    )


def message_seconds(*, network: NetworkSpec, size: int, nodes: int) -> float:
    """Seconds of a message of ``size`` bytes from outside to each node, when all nodes have one under way."""
    latency = Protocol.of(network).seconds(size)
    return latency + network.topology.hop_latency_seconds + size / outside_rate(network=network, nodes=nodes)


def outside_rate(*, network: NetworkSpec, nodes: int) -> float:
    """Bytes per second from outside to each node, when all nodes receive.

    In a tree they cross a supernode's uplinks, which the supernode's nodes share.
    """
    link = network.link
    outside = network.topology.outside_bytes_per_second(nodes)
    return min(link.node_bytes_per_second, link.node_duplex_bytes_per_second / 2, outside)
