"""``compare``: several machines side by side on one workload, each predicted as by itself."""

from __future__ import annotations

import time as host
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from sim.problems import BadInput, Problem
from taihusim.node_steps import NodeSteps
from taihusim.options import Settings
from taihusim.planning import plan_steps
from taihusim.predict import PredictRequest, predict

Target: TypeAlias = Literal["training", "inference"]
Say: TypeAlias = Callable[[str, float | None], None]

LEAST: Final = 2
"""Machines that can be compared."""


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """What is asked: the first of ``machines`` is what the others are measured by."""

    workload: str
    machines: tuple[str, ...]
    nodes: tuple[int, ...]
    target: Target = "training"
    mapping: str = "default"
    settings: Settings = field(default_factory=Settings)
    mapping_flags: tuple[str, ...] = ()
    shapes: Mapping[str, int] | None = None
    samples: int = 1


def machine_names(text: str) -> tuple[str, ...]:
    """Names or files from ``A,B``. Raises BadInput for fewer than two, and for one that is there twice."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    problems = []
    if len(names) < LEAST:
        expected = f"at least {LEAST} machines such as sunway_taihulight,k40m_cluster"
        problems.append(Problem(file="--machines", key="", value=text, expected=expected))
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(file="--machines", key="", value=name, expected="each machine once"))
    if problems:
        raise BadInput(problems)
    return names


def compare(request: CompareRequest, *, say: Say = lambda text, share: None) -> dict[str, Any]:
    """The object that ``taihusim compare --json`` prints. Raises BadInput with the problems of all machines."""
    begin = host.perf_counter()
    problems: list[Problem] = []
    found: list[tuple[NodeSteps, list[dict[str, Any]]]] = []
    for number, name in enumerate(request.machines):
        say(name, number / len(request.machines))
        try:
            steps = _steps(request, name)
            asked = PredictRequest(nodes=request.nodes, target=request.target)
            result = predict(steps, asked)
            found.append((steps, result["points"] or result["inference"]))
        except BadInput as bad:
            problems.extend(bad.problems)
    if problems:
        raise BadInput(dict.fromkeys(problems))
    standard = found[0][1]
    machines = [_machine(steps, points, standard=standard, target=request.target) for steps, points in found]
    return {
        "workload": found[0][0].facts.name,
        "target": request.target,
        "precision": found[0][0].mapping.precision,
        "nodes": list(request.nodes),
        "machines": machines,
        "host_seconds": host.perf_counter() - begin,
    }


def _steps(request: CompareRequest, name: str) -> NodeSteps:
    return plan_steps(
        workload=request.workload,
        machine=name,
        mapping=request.mapping,
        settings=request.settings,
        mapping_flags=request.mapping_flags,
        shapes=request.shapes,
        samples=request.samples,
        trained=True,
    )


def _machine(
    steps: NodeSteps, points: Sequence[Mapping[str, Any]], *, standard: Sequence[Mapping[str, Any]], target: Target
) -> dict[str, Any]:
    """A machine with its points; ``standard``: those of the machine that it is measured by."""
    machine, dtype = steps.machine, steps.mapping.dtype
    return {
        "machine": machine.name,
        "title": machine.title,
        "processor": machine.computing.name,
        "nodes_available": machine.nodes,
        "node_peak_gflops": machine.computing.peak_flops_of(dtype) / 1e9,
        "points": [
            _point(steps, point, other=other, target=target) for point, other in zip(points, standard, strict=True)
        ],
    }


def _point(steps: NodeSteps, point: Mapping[str, Any], *, other: Mapping[str, Any], target: Target) -> dict[str, Any]:
    computing, nodes = steps.machine.computing, point["nodes"]
    if target == "training":
        samples, seconds = point["global_batch"], point["seconds_per_step"]
        joules, memory = point["energy_joules_per_step"], point["memory_bytes_per_core_group"]
        flops = point["flops_per_second"]
    else:
        node = steps.answering(point["batch"])
        samples, seconds = nodes * point["batch"], point["seconds_per_batch"]
        joules, memory = point["energy_joules_per_batch"], node.memory_bytes
        flops = nodes * node.flops / seconds
    return {
        "nodes": nodes,
        "cores": point["cores"],
        "samples": samples,
        "seconds_per_step": seconds,
        "samples_per_second": point["samples_per_second"],
        "relative_samples_per_second": point["samples_per_second"] / other["samples_per_second"],
        "efficiency": point["efficiency"],
        "energy_joules_per_sample": joules / samples,
        "watts": joules / seconds,
        "flops_per_second": flops,
        "peak_fraction": flops / (nodes * computing.peak_flops_of(steps.mapping.dtype)),
        "memory_bytes_per_unit": memory,
        "memory_fraction": memory / computing.unit_memory_bytes,
        "communication_share": point.get("communication_share"),
        "bottleneck": point["bottleneck"],
    }
