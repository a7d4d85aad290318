"""A Linpack run as points by node count: rate, losses, memory, energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click
import numpy as np

from nnlib.kernels.clock import KernelClock
from sim.machine.spec import MachineSpec
from sim.power.energy import Activity, energy
from sim.problems import BadInput, Problem
from taihusim.console import print_table
from workloads.hpc.hpl import HplRun, lu_costs, run_hpl
from workloads.hpc.hpl_spec import HplWorkload
from workloads.hpc.hpl_variants import variants
from workloads.hpc.lu_matrix import LuMatrix
from workloads.hpc.lu_run import MOST_PROCESSES, LuRun, back_substitute, scaled_residual
from workloads.hpc.numerics import Numerics
from workloads.words import energy_in_words, nodes_in_words, rate_in_words, seconds_in_words, size_in_words

MOST_ROWS: Final = 2048
"""Of a matrix that is really factorised."""
LOSSES: Final = {
    "mpes": "MPEs: their peak is counted, but they compute no products",
    "kernel": "kernel: the update reaches less than the CPEs' peak",
    "row_swaps": "row swaps: rows exchanged within the process columns, not under the update",
    "triangular_solve": "triangular solve: the block rows of U",
    "panel": "panel: factorised by one process column at a time, while others wait",
    "broadcast": "broadcast: panels that reach other process columns after they were wanted",
    "imbalance": "imbalance: processes with fewer rows, and process columns with fewer columns, wait",
    "back_substitution": "back substitution",
}
"""What is between the peak and the result, in words."""


def hpl_point(workload: HplWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> dict[str, Any]:
    """One node count as JSON. Raises BadInput if it does not fit."""
    run = run_hpl(workload, machine=machine, clock=clock, nodes=nodes)
    peak = nodes * machine.processor.peak_flops
    lost = _lost(run, machine)
    worst = max(lost, key=lambda name: lost[name])
    return {
        "nodes": nodes,
        "cores": nodes * machine.processor.cores,
        "processes": run.problem.grid.processes,
        "grid_rows": run.problem.grid.rows,
        "grid_columns": run.problem.grid.columns,
        "order": run.problem.order,
        "block": run.problem.block,
        "seconds": run.timing.seconds,
        "flops": run.problem.flops,
        "flops_per_second": run.flops_per_second,
        "peak_fraction": run.flops_per_second / peak,
        "shares": dict(run.timing.shares),
        "losses_flops_per_second": lost,
        "memory_bytes_per_core_group": run.bytes_per_core_group,
        "memory_bytes_per_node": run.bytes_per_core_group * machine.processor.core_groups,
        "energy_joules": _energy(run, machine),
        "scaled_residual": None,
        "bottleneck": f"{LOSSES[worst]}; {100 * lost[worst] / peak:.1f} % of the peak",
    }


def _lost(run: HplRun, machine: MachineSpec) -> dict[str, float]:
    """Operations per second by mechanism: with the result they add up to the peak, that of the MPEs included."""
    processor = machine.processor
    cpes = processor.core_groups * processor.core_group_cpe_peak_flops
    found = {name: share * cpes * run.nodes for name, share in run.losses.items()}
    found["mpes"] = (processor.peak_flops - cpes) * run.nodes
    return {name: found[name] for name in LOSSES}


def hpl_residual(
    workload: HplWorkload, *, machine: MachineSpec, clock: KernelClock, nodes: int, numerics: Numerics, seed: int
) -> float:
    """The scaled residual of a random system, factorised process by process. Raises BadInput if it is not small."""
    costs = lu_costs(workload, machine=machine, clock=clock, nodes=nodes)
    problem = costs.problem
    if problem.grid.processes > MOST_PROCESSES or problem.order > MOST_ROWS:
        expected = f"at most {MOST_PROCESSES} processes and an order of {MOST_ROWS:,} to compute with"
        found = f"{problem.grid.processes:,} processes, order {problem.order:,}"
        raise BadInput([Problem(file="--numerics", key="", value=found, expected=expected)])
    system = np.random.default_rng(seed).standard_normal((problem.order, problem.order + 1))
    dealt = LuMatrix(problem, workload.mapping, machine.processor, system[:, :-1], system[:, -1], numerics)
    LuRun(costs, dealt).factorise()
    return scaled_residual(dealt.matrix, back_substitute(dealt), dealt.right)


def hpl_variants(
    workload: HplWorkload,
    *,
    machine: MachineSpec,
    clock: KernelClock,
    nodes: int,
    say: Callable[[str, float | None], None],
) -> list[dict[str, Any]]:
    """What each other choice does to the rate; choices that the nodes do not allow are left out."""
    base = run_hpl(workload, machine=machine, clock=clock, nodes=nodes)
    found = []
    every = list(variants(workload, base.problem.grid))
    for number, (key, value, changed) in enumerate(every):
        say(f"{key} {value}", number / len(every))
        try:
            run = run_hpl(changed, machine=machine, clock=clock, nodes=nodes)
        except BadInput:
            continue
        found.append(
            {
                "nodes": nodes,
                "choice": key,
                "value": value,
                "seconds": run.timing.seconds,
                "flops_per_second": run.flops_per_second,
                "change": run.flops_per_second / base.flops_per_second - 1,
            }
        )
    return found


def print_hpl(result: Mapping[str, Any]) -> None:
    """A table of the points and one of their losses."""
    columns = ("nodes", "cores", "grid", "order", "time", "rate", "of peak", "memory of a node", "energy")
    rows = [
        (
            f"{point['nodes']:,}",
            f"{point['cores']:,}",
            f"{point['grid_rows']} x {point['grid_columns']}",
            f"{point['order']:,}",
            seconds_in_words(point["seconds"]),
            rate_in_words(point["flops_per_second"]),
            f"{100 * point['peak_fraction']:.1f} %",
            size_in_words(point["memory_bytes_per_node"]),
            energy_in_words(point["energy_joules"]),
        )
        for point in result["points"]
    ]
    print_table(columns, rows, title=f"{result['workload']} on {result['machine']}, simulated time", right=columns)
    click.echo()
    losses = [
        (
            nodes_in_words(point["nodes"]),
            *(f"-{_percent(point['losses_flops_per_second'][name], of=point)}" for name in LOSSES),
            _percent(point["flops_per_second"], of=point),
        )
        for point in result["points"]
    ]
    heads = ("", *(name.replace("_", " ") for name in LOSSES), "result")
    print_table(heads, losses, title="from peak to result, % of peak", right=heads[1:])
    for point in result["points"]:
        if point["scaled_residual"] is not None:
            click.echo(f"scaled residual on {nodes_in_words(point['nodes'])}: {point['scaled_residual']:.3g}, below 16")
    if result["variants"]:
        click.echo()
        _print_variants(result["variants"])


def _percent(rate: float, *, of: Mapping[str, Any]) -> str:
    """A rate in per cent of a point's peak."""
    return f"{100 * rate * of['peak_fraction'] / of['flops_per_second']:.1f}"


def _print_variants(found: Sequence[Mapping[str, Any]]) -> None:
    columns = ("choice", "value", "time", "rate", "change")
    rows = [
        (
            each["choice"],
            str(each["value"]),
            seconds_in_words(each["seconds"]),
            rate_in_words(each["flops_per_second"]),
            f"{100 * each['change']:+.1f} %",
        )
        for each in found
    ]
    title = f"one choice changed at a time, on {nodes_in_words(found[0]['nodes'])}"
    print_table(columns, rows, title=title, right=columns[2:])


def _energy(run: HplRun, machine: MachineSpec) -> float:
    """Joules of all nodes: CPEs compute for as long as the update takes and wait else; each number of the matrix is
    moved there and back, and read once more as a part of a panel, in every step that updates it."""
    shares, seconds = run.timing.shares, run.timing.seconds
    busy = (shares["arithmetic_at_peak"] + shares["kernel"] + shares["triangular_solve"]) * seconds
    moved = run.problem.flops / (2 * run.problem.block) * 8 * 2.5
    activity = Activity(
        seconds=seconds,
        compute_seconds=busy,
        wait_seconds=seconds - busy,
        mpe_seconds=seconds,
        memory_bytes=moved / run.nodes,
        network_bytes=_sent_bytes(run),
    )
    return energy(machine, activity, nodes=run.nodes).total_joules


def _sent_bytes(run: HplRun) -> float:
    """Of a node, sent and received: its panels and its block rows, each passed on once."""
    grid, order = run.problem.grid, run.problem.order
    per_process = 8 * order**2 / 2 * (1 / grid.rows + 2 / grid.columns)
    return 2 * per_process * grid.processes / run.nodes
