"""``predict`` for programs that are no networks: found by their workload file, answered by their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from nnlib.kernels.clock import KernelClock
from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from taihusim.cache import default_store
from taihusim.node_counts import node_problems
from taihusim.options import Settings
from taihusim.programs.hpcg import hpcg_point, print_hpcg
from taihusim.programs.hpl import hpl_point, print_hpl
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.files import Program, load_program
from workloads.hpc.hpl_spec import HplWorkload
from workloads.words import nodes_in_words

KINDS: Final[Mapping[type, str]] = {HplWorkload: "hpl", HpcgWorkload: "hpcg"}
PRINTED: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {"hpl": print_hpl, "hpcg": print_hpcg}


def predict_program(
    name: str | Path,
    *,
    machine: str,
    settings: Settings,
    nodes: Sequence[int],
    flags: Sequence[str] = (),
    say: Callable[[str, float | None], None] = lambda text, share: None,
) -> dict[str, Any]:
    """What the command prints as JSON. ``flags``: mapping flags that were given, none of which a program has.

    Raises BadInput with all problems.
    """
    begin = perf_counter()
    problems = [_no_mapping(setting) for setting in (*settings.mapping, *flags)]
    if problems:
        raise BadInput(problems)
    spec = load_machine(machine, settings.machine)
    workload = load_program(name, settings.workload)
    problems = node_problems(nodes, machine=spec)
    if problems:
        raise BadInput(problems)
    clock = KernelClock(spec.processor, store=default_store())
    points = []
    for number, count in enumerate(nodes):
        say(f"{workload.name} on {count:,} nodes", number / len(nodes))
        points.append(_point(workload, machine=spec, clock=clock, nodes=count))
    return {
        "workload": workload.name,
        "kind": KINDS[type(workload)],
        "machine": spec.name,
        "points": points,
        "host_seconds": perf_counter() - begin,
    }


def print_program(result: Mapping[str, Any]) -> None:
    """Tables by kind."""
    PRINTED[result["kind"]](result)
    print()
    for point in result["points"]:
        print(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")


def _point(workload: Program, *, machine: MachineSpec, clock: KernelClock, nodes: int) -> dict[str, Any]:
    match workload:
        case HplWorkload():
            return hpl_point(workload, machine=machine, clock=clock, nodes=nodes)
        case HpcgWorkload():
            return hpcg_point(workload, machine=machine, clock=clock, nodes=nodes)


def _no_mapping(setting: str) -> Problem:
    key, _, value = setting.partition("=")
    expected = f"nothing: a program that is no network has its own mapping, --set workload.mapping.{key}=..."
    return Problem(file=f"--set mapping.{setting}", key=key, value=value, expected=expected)
