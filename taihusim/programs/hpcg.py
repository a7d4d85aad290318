"""Conjugate gradients as points by node count: rate, where an iteration's time goes, memory, energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click
import numpy as np

from nnlib.kernels.clock import KernelClock
from sim.machine.spec import MachineSpec
from sim.network.collectives import collective
from sim.power.energy import Activity, energy
from sim.problems import BadInput, Problem
from taihusim.console import print_table
from workloads.hpc.cg_numerics import CgNumerics
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.conjugate_gradient import ConjugateGradient
from workloads.hpc.hpcg import cg_costs, run_hpcg
from workloads.hpc.numerics import Numerics
from workloads.words import nodes_in_words, rate_in_words, seconds_in_words, size_in_words

MOST_UNKNOWNS: Final = 300_000
"""Of a system that is really solved."""
MOST_ITERATIONS: Final = 100
TOLERANCE: Final = 1e-12
PARTS: Final = {
    "smoother": "memory: the smoother streams the matrix through the LDM for every sweep",
    "residual": "memory: residuals stream the matrix",
    "product": "memory: the product with the matrix streams it",
    "vectors": "memory: sums and products of vectors",
    "halo_exchange": "network: faces exchanged with the neighbours after every colour",
    "global_sums": "network: sums over all processes",
}


def hpcg_point(workload: HpcgWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> dict[str, Any]:
    """One node count as JSON. Raises BadInput if it does not fit."""
    run = run_hpcg(workload, machine=machine, clock=clock, nodes=nodes)
    processor = machine.processor
    worst = max(run.shares, key=lambda name: run.shares[name])
    memory = sum(run.shares[name] for name in ("smoother", "residual", "product", "vectors"))
    rate = processor.core_groups * processor.dma.line_bytes / processor.dma.line_seconds
    activity = Activity(
        seconds=run.seconds,
        compute_seconds=run.flops / nodes / processor.peak_flops,
        wait_seconds=run.seconds,
        mpe_seconds=run.seconds,
        memory_bytes=memory * run.seconds * rate,
    )
    return {
        "nodes": nodes,
        "cores": nodes * processor.cores,
        "processes": nodes * processor.core_groups,
        "box": list(run.box),
        "unknowns": workload.rows(0) * nodes * processor.core_groups,
        "seconds_per_iteration": run.seconds,
        "flops_per_iteration": run.flops,
        "flops_per_second": run.flops_per_second,
        "peak_fraction": run.flops_per_second / (nodes * processor.peak_flops),
        "shares": dict(run.shares),
        "memory_bytes_per_core_group": run.bytes_per_core_group,
        "memory_bytes_per_node": run.bytes_per_core_group * processor.core_groups,
        "energy_joules_per_iteration": energy(machine, activity, nodes=nodes).total_joules,
        "relative_residual": None,
        "iterations": None,
        "bottleneck": f"{PARTS[worst]}; {100 * run.shares[worst]:.0f} % of an iteration",
    }


def hpcg_residual(
    workload: HpcgWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int, numerics: Numerics, seed: int
) -> tuple[float, int]:
    """How much of a random b's norm is left, and after how many iterations. Raises BadInput if it is not small."""
    costs = cg_costs(workload, machine=machine, clock=clock, nodes=nodes)
    unknowns = workload.rows(0) * costs.box.processes
    if unknowns > MOST_UNKNOWNS:
        expected = f"at most {MOST_UNKNOWNS:,} unknowns to compute with"
        raise BadInput([Problem(file="--numerics", key="", value=unknowns, expected=expected)])
    shape = tuple(count * points for count, points in zip(costs.box.counts, workload.points, strict=True))
    sums = collective("allreduce", workload.collective, topology=costs.topology, elements=1)
    right = np.random.default_rng(seed).standard_normal(shape)
    numbers = CgNumerics(workload, costs.box, sums, machine.processor, right, numerics)
    iterations = ConjugateGradient(costs, numbers).solve(MOST_ITERATIONS, tolerance=TOLERANCE)
    return numbers.left, iterations


def print_hpcg(result: Mapping[str, Any]) -> None:
    """A table of the points with where an iteration's time goes."""
    columns = ("nodes", "cores", "unknowns", "iteration", "rate", "of peak", "memory of a node", *PARTS)
    rows = [
        (
            f"{point['nodes']:,}",
            f"{point['cores']:,}",
            f"{point['unknowns']:,}",
            seconds_in_words(point["seconds_per_iteration"]),
            rate_in_words(point["flops_per_second"]),
            f"{100 * point['peak_fraction']:.2f} %",
            size_in_words(point["memory_bytes_per_node"]),
            *(f"{100 * point['shares'][name]:.1f} %" for name in PARTS),
        )
        for point in result["points"]
    ]
    heads = [name.replace("_", " ") for name in columns]
    print_table(heads, rows, title=f"{result['workload']} on {result['machine']}, simulated time", right=heads)
    for point in result["points"]:
        if point["iterations"] is not None:
            place = nodes_in_words(point["nodes"])
            click.echo(
                f"solved on {place}: {point['relative_residual']:.3g} of b after {point['iterations']} iterations"
            )
