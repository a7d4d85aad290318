"""How a node's gradients travel under a mapping: in which parts, by which scheme."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sim.machine.spec import MachineSpec
from sim.network.communication import Communicator, Part
from sim.network.schemes import Scheme, scheme
from sim.network.slow_links import with_slow_links
from sim.network.topology import Topology
from workloads.jobs.node_step import NodeStep
from workloads.mapping import Mapping


def communicator(
    *, machine: MachineSpec, mapping: Mapping, nodes: int, item_bytes: int, seed: int | None = None
) -> Communicator:
    """What adds gradients over the ranks of ``nodes`` nodes. Raises BadInput for more nodes than there are.

    ``seed``: draws the slow links that the machine's noise has.
    """
    topology = Topology(network=machine.network, nodes=nodes, ranks_per_node=mapping.ranks_per_node)
    return Communicator(
        topology=topology if seed is None else with_slow_links(topology, machine.noise, seed=seed),
        scheme=mapped_scheme(machine=machine, mapping=mapping),
        item_bytes=item_bytes,
    )


def mapped_scheme(*, machine: MachineSpec, mapping: Mapping) -> Scheme:
    """The scheme that a mapping names, with its own choices. Raises BadInput for what does not exist."""
    return scheme(mapping.communication, network=machine.network, changed=mapping.communication_choices)


def gradient_parts(node: NodeStep, mapping: Mapping) -> list[Part]:
    """What a rank sends, in order: buckets, or parameter by parameter.

    The library of 2018 also reduces, and does not give back, what normalisation layers keep: mean, variance and the
    factor that goes with them, here dealt out evenly among the parameters.
    """
    if mapping.packing == "buckets":
        return [
            Part(elements=each.elements, ready_seconds=each.ready_seconds if mapping.overlap else node.gradient_seconds)
            for each in node.buckets
        ]
    parts = [
        Part(elements=each.elements, ready_seconds=each.ready_seconds if mapping.overlap else node.gradient_seconds)
        for each in node.blobs
    ]
    if mapping.communication != "swcaffe-2018" or not node.statistics:
        return parts
    found: list[Part] = []
    for part, kept in zip(parts, reduced_statistics(node.statistics, parts=len(parts)), strict=True):
        found.append(part)
        found += [Part(elements=each, ready_seconds=part.ready_seconds, returned=False) for each in kept]
    return found


def reduced_statistics(statistics: Sequence[int], *, parts: int) -> list[list[int]]:
    """Elements of what the library of 2018 reduces of normalisation layers after each of ``parts`` parameters.

    ``statistics``: elements of each of their arrays.
    """
    kept = [*statistics, *(1 for _ in range(len(statistics) // 2))]
    bounds = [len(kept) * number // parts for number in range(parts + 1)]
    return [kept[first:last] for first, last in pairwise(bounds)]
