"""How few samples a core group can learn from, where a layer needs the statistics of a batch."""

from __future__ import annotations

from math import prod

from nnlib.graph import Graph
from nnlib.layers.batch_normalisation import BatchNorm
from sim.problems import Problem
from taihusim.setup import Setup


def least_batch(graph: Graph) -> tuple[str, int]:
    """The layer that needs most samples at a time to learn, and how many; ("", 1) where one is enough.

    Batch normalisation needs more than one number per channel.
    """
    for node in graph.nodes:
        if isinstance(node.layer, BatchNorm) and prod(graph.shapes[node.name][:-1]) == 1:
            return node.name, 2
    return "", 1


def batch_problem(setup: Setup, samples: int, *, layer: str, least: int) -> Problem:
    """``samples`` samples of a node leave a core group fewer than ``least``."""
    mapping, groups = setup.mapping, setup.machine.processor.core_groups
    file, key = f"workload {setup.workload.name}", "recipe.batch_per_node"
    if mapping.global_batch is not None or mapping.batch_per_node is not None:
        file, key = "--batch-per-node" if mapping.global_batch is None else "--global-batch", ""
    expected = (
        f"at least {least} samples on each of the {groups} core groups, such as --batch-per-node {least * groups}: "
        f"{layer!r} normalises a single number for each channel of a sample by the others of its batch"
    )
    return Problem(file=file, key=key, value=samples, expected=expected)
