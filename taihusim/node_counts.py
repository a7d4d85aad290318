"""Numbers of nodes that a question is asked for, and whether machine and batch go with them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from workloads.mapping import Mapping


def node_counts(text: str) -> tuple[int, ...]:
    """Node counts from ``1,16,256``. Raises BadInput for what is no count."""
    problems = []
    found = []
    for part in text.split(","):
        if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", part):
            found.append(int(part))
        else:
            problems.append(Problem(file="--nodes", key="", value=part, expected="numbers of nodes such as 1,16,256"))
    if problems:
        raise BadInput(dict.fromkeys(problems))
    return tuple(found)


def node_problems(nodes: Sequence[int], *, machine: MachineSpec) -> list[Problem]:
    """A problem for each node count that the machine does not have."""
    expected = f"1 to {machine.nodes:,} nodes on {machine.name}"
    wrong: list[int | None] = [count for count in nodes if not 1 <= count <= machine.nodes]
    if not nodes:
        wrong = [None]
    return [Problem(file="--nodes", key="", value=count, expected=expected) for count in wrong]


def rank_problems(machine: MachineSpec, mapping: Mapping) -> list[Problem]:
    """A problem if a node's ranks are neither one nor as many as its core groups or devices."""
    units = machine.computing.compute_units
    if mapping.ranks_per_node in (1, units):
        return []
    expected = f"1, as a node of {machine.name} computes with {units} x {machine.computing.name}"
    if machine.roofline is None:
        expected = f"1, as a node of {machine.name} has {units} core groups"
    file = f"mapping {mapping.name}"
    return [Problem(file=file, key="ranks_per_node", value=mapping.ranks_per_node, expected=expected)]


def batch_problems(nodes: Sequence[int], *, mapping: Mapping, recipe_batch_per_node: int) -> list[Problem]:
    """A problem for each node count over which the batch cannot be shared equally, down to its ranks.

    A strategy shares it among replicas, and says itself if it cannot.
    """
    problems: list[Problem] = []
    for count in nodes if mapping.strategy.is_data else ():
        if count < 1:
            continue
        try:
            samples = mapping.samples_per_node(nodes=count, recipe_batch_per_node=recipe_batch_per_node)
        except BadInput as error:
            problems += error.problems
            continue
        if samples % mapping.ranks_per_node:
            expected = f"a multiple of the {mapping.ranks_per_node} ranks of a node"
            problems.append(Problem(file="--batch-per-node", key="", value=samples, expected=expected))
    return list(dict.fromkeys(problems))
