"""``predict`` for programs that are no networks: found by their workload file, answered by their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from nnlib.kernels.clock import KernelClock
from sim.machine.spec import MachineSpec
from sim.problems import BadInput, Problem
from taihusim.cache import default_store
from taihusim.descriptions import described_machine
from taihusim.node_counts import node_problems
from taihusim.options import Settings
from taihusim.programs.hpcg import hpcg_point, hpcg_residual, print_hpcg
from taihusim.programs.hpl import hpl_point, hpl_residual, hpl_variants, print_hpl
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.files import KIND_OF, Program, load_program
from workloads.hpc.hpl_spec import HplWorkload
from workloads.hpc.numerics import Numerics
from workloads.words import nodes_in_words

Point = Callable[[int], dict[str, Any]]


def predict_program(
    name: str | Path,
    *,
    machine: str,
    mapping: str,
    settings: Settings,
    nodes: Sequence[int],
    flags: Sequence[str] = (),
    sensitivity: bool = False,
    seed: int = 0,
    say: Callable[[str, float | None], None] = lambda text, share: None,
) -> dict[str, Any]:
    """What the command prints as JSON. ``mapping``, its settings and ``flags`` are of the network that a program has.
    ``sensitivity``: on most of the nodes, what choices of Linpack that no source settles would do. With numerics among
    the flags, layer or tile, Linpack and conjugate gradients also solve a system drawn from ``seed``.

    Raises BadInput with all problems, one for each of these where a program has none.
    """
    begin = perf_counter()
    store = default_store()
    spec = described_machine(machine, settings.machine, store=store)
    workload = load_program(name, settings.workload)
    problems = node_problems(nodes, machine=spec)
    numerics: Numerics | None = None
    if not isinstance(workload, ClimateWorkload):
        numerics, flags = _numerics(flags)
        # a flag for one batch takes the other away, which is no second problem
        given = [f"--{flag.replace('_', '-')}" for flag in flags if not flag.endswith("=null")]
        problems += [_no_mapping(place) for place in (*(f"--set mapping.{each}" for each in settings.mapping), *given)]
    if sensitivity and not isinstance(workload, HplWorkload):
        expected = f"nothing: the choices of {workload.name} are those of its workload file"
        problems.append(Problem(file="--sensitivity", key="", value=None, expected=expected))
    if problems:
        raise BadInput(problems)
    clock = KernelClock(spec.processor, store=store)
    point = _points(workload, spec, clock, machine=machine, mapping=mapping, settings=settings, flags=flags)
    points = []
    for number, count in enumerate(nodes):
        say(f"{workload.name} on {nodes_in_words(count)}", number / len(nodes))
        found = point(count)
        if numerics is not None and isinstance(workload, HplWorkload):
            found["scaled_residual"] = hpl_residual(
                workload, machine=spec, clock=clock, nodes=count, numerics=numerics, seed=seed
            )
        elif numerics is not None and isinstance(workload, HpcgWorkload):
            found["relative_residual"], found["iterations"] = hpcg_residual(
                workload, machine=spec, clock=clock, nodes=count, numerics=numerics, seed=seed
            )
        points.append(found)
    others = None
    if sensitivity and isinstance(workload, HplWorkload):
        others = hpl_variants(workload, machine=spec, clock=clock, nodes=max(nodes), say=say)
    return {
        "workload": workload.name,
        "kind": KIND_OF[type(workload)],
        "machine": spec.name,
        "points": points,
        "variants": others,
        "host_seconds": perf_counter() - begin,
    }


def print_program(result: Mapping[str, Any]) -> None:
    """Tables by kind, and in words what holds each point back."""
    match result["kind"]:
        case "hpl":
            print_hpl(result)
        case "hpcg":
            print_hpcg(result)
        case _:
            from taihusim.programs.climate import print_climate

            print_climate(result)
    click.echo()
    for point in result["points"]:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")


def _points(
    workload: Program,
    spec: MachineSpec,
    clock: KernelClock,
    *,
    machine: str,
    mapping: str,
    settings: Settings,
    flags: Sequence[str],
) -> Point:
    """What answers for a node count."""
    match workload:
        case HplWorkload():
            return lambda nodes: hpl_point(workload, machine=spec, clock=clock, nodes=nodes)
        case HpcgWorkload():
            return lambda nodes: hpcg_point(workload, machine=spec, clock=clock, nodes=nodes)
        case ClimateWorkload():
            from taihusim.planning import plan_steps
            from taihusim.programs.climate import climate_point, climate_problems

            steps = plan_steps(
                workload=workload.network,
                machine=machine,
                mapping=mapping,
                settings=replace(settings, workload=()),
                mapping_flags=flags,
            )
            if problems := climate_problems(steps.mapping, flags):
                raise BadInput(problems)
            return lambda nodes: climate_point(workload, steps=steps, clock=clock, nodes=nodes)


def _numerics(flags: Sequence[str]) -> tuple[Numerics | None, list[str]]:
    """How to compute, if at all, and the other flags."""
    chosen: dict[str, Numerics | None] = {"numerics=layer": "layer", "numerics=tile": "tile", "numerics=off": None}
    named = [flag for flag in flags if flag in chosen]
    return chosen[named[-1]] if named else None, [flag for flag in flags if flag not in chosen]


def _no_mapping(place: str) -> Problem:
    name, _, value = place.partition("=")
    expected = "nothing: this program is no network and has its own mapping, --set workload.mapping.KEY=VALUE"
    return Problem(file=name, key="", value=value, expected=expected)
