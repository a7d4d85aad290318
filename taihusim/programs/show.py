"""``workload show`` of programs that are no networks: how large they are, what they compute and what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from machine_configs import DEFAULT_MACHINE
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.grids.weather_step import flops
from nnlib.kernels.sparse.sparse_rows import INDEX_BYTES, NUMBER_BYTES, POINTS
from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.console import print_table
from taihusim.options import Settings
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.conjugate_gradient import flops_per_iteration
from workloads.hpc.files import KIND_OF, load_program
from workloads.hpc.hpcg import bytes_per_core_group as hpcg_bytes
from workloads.hpc.hpcg import cg_costs
from workloads.hpc.hpl import bytes_per_core_group as hpl_bytes
from workloads.hpc.hpl import lu_costs
from workloads.hpc.hpl_spec import HplWorkload
from workloads.hpc.hpl_variants import other_values
from workloads.words import nodes_in_words, size_in_words


def program_facts(name: str, *, settings: Settings) -> dict[str, Any]:
    """What the command prints as JSON, on the default machine changed by ``settings``. Raises BadInput."""
    workload = load_program(name, settings.workload)
    machine = load_machine(DEFAULT_MACHINE, settings.machine)
    match workload:
        case HplWorkload():
            facts = _hpl(workload, machine)
        case HpcgWorkload():
            facts = _hpcg(workload, machine)
        case ClimateWorkload():
            facts = _climate(workload, machine)
    head = {"program": workload.name, "title": workload.title, "kind": KIND_OF[type(workload)], "machine": machine.name}
    return head | facts


def print_facts(facts: Mapping[str, Any]) -> None:
    """Size, operations and memory in words, then the choices that no source settles, if there are any."""
    rows = {"hpl": _hpl_rows, "hpcg": _hpcg_rows, "climate": _climate_rows}[facts["kind"]](facts)
    place = f"{nodes_in_words(facts['nodes'])} of {facts['machine']}" if "nodes" in facts else facts["machine"]
    print_table(("what", "value"), rows, title=f"{facts['title']} ({facts['program']}), on {place}")
    if "mapping" in facts and facts["other_choices"]:
        click.echo()
        choices = [
            (key, _word(value), ", ".join(map(_word, facts["other_choices"].get(key, ()))) or None)
            for key, value in facts["mapping"].items()
        ]
        print_table(("choice", "value", "others that predict --sensitivity tries"), choices)


def _hpl(workload: HplWorkload, machine: MachineSpec) -> dict[str, Any]:
    nodes = workload.order_nodes
    costs = lu_costs(workload, machine=machine, clock=KernelClock(machine.processor), nodes=nodes)
    problem = costs.problem
    memory = hpl_bytes(problem, sharers=costs.kernels.sharers)
    others: dict[str, list[Any]] = {}
    for key, value in other_values(workload, problem.grid):
        others.setdefault(key, []).append(value)
    return {
        "nodes": nodes,
        "order": problem.order,
        "block": problem.block,
        "matrix_bytes": 8 * problem.order**2,
        "flops": problem.flops,
        "processes": problem.grid.processes,
        "grid_rows": problem.grid.rows,
        "grid_columns": problem.grid.columns,
        "memory_bytes_per_core_group": memory,
        "memory_bytes_per_node": memory * machine.processor.core_groups,
        "mapping": {"block": workload.block, **asdict(workload.mapping)},
        "other_choices": others,
    }


def _hpl_rows(facts: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    return (
        ("order of the matrix", f"{facts['order']:,}, {size_in_words(facts['matrix_bytes'])}; N² grows with the nodes"),
        ("blocks", f"{facts['block']} x {facts['block']}"),
        ("grid of processes", f"{facts['grid_rows']:,} x {facts['grid_columns']:,}"),
        ("operations", f"{facts['flops']:.4g} (2/3 N³ + 3/2 N²)"),
        ("memory of a node", f"{size_in_words(facts['memory_bytes_per_node'])}: matrix, two panels, a block row"),
    )


def _hpcg(workload: HpcgWorkload, machine: MachineSpec) -> dict[str, Any]:
    groups = machine.processor.core_groups
    costs = cg_costs(workload, machine=machine, clock=KernelClock(machine.processor), nodes=1)
    memory = hpcg_bytes(workload)
    return {
        "points_per_core_group": list(workload.points),
        "levels": [list(workload.shape(level)) for level in range(workload.levels)],
        "unknowns_per_node": workload.rows(0) * groups,
        "flops_per_iteration_per_node": flops_per_iteration(costs),
        "matrix_bytes_per_flop": (NUMBER_BYTES + INDEX_BYTES) / 2,
        "memory_bytes_per_core_group": memory,
        "memory_bytes_per_node": memory * groups,
        "mapping": {"collective": workload.collective, "persistent_threads": workload.persistent_threads},
        "other_choices": {},
    }


def _hpcg_rows(facts: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    levels = ", ".join(" x ".join(map(str, level)) for level in facts["levels"])
    return (
        ("points of a core group", f"{levels} (z, y, x), level by level"),
        ("unknowns of a node", f"{facts['unknowns_per_node']:,}, {POINTS} coefficients each"),
        ("operations of an iteration", f"{facts['flops_per_iteration_per_node']:.4g} on a node"),
        ("bytes of the matrix", f"{facts['matrix_bytes_per_flop']:g} for each operation, streamed anew for each pass"),
        ("memory of a node", size_in_words(facts["memory_bytes_per_node"])),
    )


def _climate(workload: ClimateWorkload, machine: MachineSpec) -> dict[str, Any]:
    from taihusim.programs.climate import core_step
    from taihusim.setup import prepare

    setup, groups = prepare(workload=workload.network), machine.processor.core_groups
    kernel, graph = core_step(setup, workload), setup.graph
    fields = 2 * 8 * kernel.rows * kernel.columns * kernel.channels
    return {
        "network": workload.network,
        "field": list(graph.inputs[0].shape),
        "fields_per_core_group": workload.fields,
        "points_per_core_group": [kernel.rows, kernel.columns],
        "steps": workload.steps,
        "flops_per_step_per_node": float(flops(kernel.channels) * kernel.rows * kernel.columns * groups),
        "multiply_accumulates_per_field": sum(graph.multiply_accumulates.values()),
        "field_bytes_per_core_group": fields,
        "field_bytes_per_node": fields * groups,
        "dynamics": asdict(workload.dynamics),
        "stable_wind": 1 / workload.dynamics.step - 2 * workload.dynamics.wave_speed,
    }


def _climate_rows(facts: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    rows, columns = facts["points_per_core_group"]
    field = " x ".join(map(str, facts["field"]))
    return (
        ("points of a core group", f"{rows:,} x {columns:,}: {facts['fields_per_core_group']} fields of {field}"),
        ("steps between looks", f"{facts['steps']:,}, stable for |u| + |v| below {facts['stable_wind']:.3g}"),
        ("operations of a step", f"{facts['flops_per_step_per_node']:.4g} on a node"),
        ("network", f"{facts['network']}, {facts['multiply_accumulates_per_field']:,} multiply-accumulates a field"),
        ("memory of a node's fields", f"{size_in_words(facts['field_bytes_per_node'])}, before and after a step"),
    )


def _word(value: object) -> str:
    """As a workload file has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
