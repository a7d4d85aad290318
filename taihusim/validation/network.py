"""Predictions of bandwidths of the network: between two nodes, and of all-reduces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from sim.machine.spec import MachineSpec
from sim.network.choices import Choices
from sim.network.communication import Communicator, Part
from sim.network.message_stream import message_seconds
from sim.network.schemes import scheme
from sim.network.topology import Topology
from taihusim.validation.inputs import Inputs, Unpredictable, text, whole

ITEM_BYTES: Final = 4
"""Gradients of the measured library are fp32."""


@dataclass(frozen=True, kw_only=True)
class _Series:
    """One curve of SWCAFFE figure 6: both directions at once, across the tapered level with all nodes sending."""

    both_ways: bool
    across: bool


SERIES: Final[Mapping[str, _Series]] = {
    "SW_uni": _Series(both_ways=False, across=False),
    "SW_bi": _Series(both_ways=True, across=False),
    "SW_uni_over": _Series(both_ways=False, across=True),
    "SW_bi_over": _Series(both_ways=True, across=True),
}
ALGORITHMS: Final[Mapping[str, tuple[str, Choices]]] = {
    "SWMPI_Allreduce": ("stock-mpi", Choices()),
    "Topawa": ("swcaffe-2019", Choices(collective="halving_doubling_round_robin")),
    "Ring": ("swcaffe-2019", Choices(collective="ring")),
}
"""Scheme of each curve of THESIS chapter 7, with what is changed in it."""


def p2p_bandwidth(inputs: Inputs, machine: MachineSpec) -> float:
    """GB/s of messages that follow one another; both directions together where there are two."""
    name = text(inputs, "series")
    series = SERIES.get(name)
    if series is None:
        raise Unpredictable(f"series {name} is of another network; modelled are {', '.join(SERIES)}")
    size = whole(inputs, "message_bytes")
    outside = machine.network.topology.outside_bytes_per_second(machine.nodes) if series.across else None
    seconds = message_seconds(machine.network, size, both_ways=series.both_ways, outside_bytes_per_second=outside)
    return (2 if series.both_ways else 1) * size / seconds / 1e9


def allreduce_bandwidth(inputs: Inputs, machine: MachineSpec) -> float:
    """GB/s that an all-reduce of n bytes over p nodes moves: 2 (p - 1) / p n in its time."""
    return effective_bandwidth(inputs, machine, nodes=whole(inputs, "nodes", least=2, most=machine.nodes))


def effective_bandwidth(inputs: Inputs, machine: MachineSpec, *, nodes: int) -> float:
    """The same over ``nodes`` nodes, whatever the row says."""
    name = text(inputs, "algorithm")
    if name not in ALGORITHMS:
        raise Unpredictable(f"algorithm {name} is not modelled; modelled are {', '.join(ALGORITHMS)}")
    library, changed = ALGORITHMS[name]
    elements = round(_number(inputs, "message_MB") * 1e6 / ITEM_BYTES)
    communicator = Communicator(
        topology=Topology(machine.network, nodes),
        scheme=scheme(library, network=machine.network, changed=changed),
        item_bytes=ITEM_BYTES,
    )
    found = communicator.communicate([Part(elements=elements, ready_seconds=0.0)], start=np.zeros(nodes))
    return 2 * (nodes - 1) / nodes * elements * ITEM_BYTES / float(found.finish.max()) / 1e9


def _number(inputs: Inputs, column: str) -> float:
    cell = text(inputs, column)
    try:
        number = float(cell)
    except ValueError:
        raise Unpredictable(f"{column} {cell!r} is no number") from None
    if not 0 < number < 1e9:
        raise Unpredictable(f"{column} {cell} is not above 0 and below 1e9")
    return number
