"""How often a job is hit: the failures of its nodes and of the links between them."""

from __future__ import annotations

from sim.machine.spec import MachineSpec


def job_mtbf_seconds(machine: MachineSpec, *, nodes: int) -> float:
    """Mean time between failures of any part of a job on ``nodes`` nodes; failures of parts are independent."""
    faults = machine.faults
    return 1.0 / (nodes / faults.node_mtbf_seconds + job_links(machine, nodes=nodes) / faults.link_mtbf_seconds)


def job_links(machine: MachineSpec, *, nodes: int) -> int:
    """Links that a job on ``nodes`` nodes needs: one to each, and those of the topology between them."""
    return nodes + machine.network.topology.links_between(nodes)
