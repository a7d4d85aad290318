"""``infer`` for the climate workflow: its core really steps, its network really looks at the fields, both are timed.

The globe is made of the samples of the network's test set, or of given ones, side by side, begun again as often as
needed: what they should be found to be is known, as it was before the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click
import numpy as np

from nnlib.batch import Arrays
from sim.chip.memory import Array
from sim.problems import BadInput, Problem
from taihusim.given_inputs import bound_inputs
from taihusim.infer import InferRequest, calibration_sample, network_variables
from taihusim.node_counts import node_problems
from taihusim.options import Settings
from taihusim.programs.climate import climate_point, climate_problems, field_shape, print_climate
from taihusim.programs.climate_run import ClimateRun, run_climate, side_by_side
from taihusim.setup import Setup, prepare
from workloads.datasets.load import load_dataset, measure_of
from workloads.datasets.measure import Measure
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.files import load_program
from workloads.hpc.process_grid import near_square
from workloads.hpc.weather import Grid
from workloads.words import measure_in_words, nodes_in_words, size_in_words

MOST_POINTS: Final = 1_500_000
"""Of a globe that is really computed."""


@dataclass(frozen=True, kw_only=True)
class ClimateInferred:
    """``result``: what the command prints as JSON. ``outputs``: fields and classes of the globe, if computed."""

    result: dict[str, Any]
    outputs: dict[str, Array] | None
    setup: Setup
    workload: ClimateWorkload


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Fields (n, rows, columns, channels) and, if known, what they should be found to be, by the network's measure."""

    fields: Array
    truth: Array | None
    measure: Measure | None
    calibration: Arrays | None


def infer_climate(
    name: str,
    request: InferRequest,
    *,
    machine: str,
    mapping: str,
    settings: Settings,
    flags: Sequence[str],
    say: Callable[[str, float | None], None] = lambda text, share: None,
) -> ClimateInferred:
    """Time the workflow on every node count and compute it on the smallest. Raises BadInput with all problems."""
    workload = load_program(name, settings.workload)
    assert isinstance(workload, ClimateWorkload)
    setup = prepare(
        workload=workload.network,
        machine=machine,
        mapping=mapping,
        settings=replace(settings, workload=()),
        mapping_flags=flags,
    )
    computed = setup.mapping.numerics != "off"
    problems = [*node_problems(request.nodes, machine=setup.machine), *climate_problems(setup.mapping, flags)]
    if computed and not problems:
        problems += _run_problems(setup, workload, min(request.nodes))
    if problems:
        raise BadInput(problems)
    points = []
    for nodes in request.nodes:
        say(f"time on {nodes_in_words(nodes)}", None)
        points.append(climate_point(workload, steps=setup.steps, clock=setup.clock, nodes=nodes))
    by_nodes = dict(zip(request.nodes, points, strict=True))
    alone = by_nodes.get(1) or climate_point(workload, steps=setup.steps, clock=setup.clock, nodes=1)
    result: dict[str, Any] = {
        "workload": workload.name,
        "machine": setup.machine.name,
        "points": [_as_inference(point, alone=alone["fields_per_second"]) for point in points],
        "outputs": None,
        "test_accuracy": None,
        "measure": None,
        "measured": None,
        "computed": None,
    }
    outputs = None
    if computed:
        more, outputs = _computed(workload, setup, request, say)
        result |= more
    return ClimateInferred(result=result, outputs=outputs, setup=setup, workload=workload)


def print_climate_inference(result: Mapping[str, Any]) -> None:
    """The table of times, what holds each point back, and what was found in the fields that were computed."""
    print_climate(result)
    click.echo()
    for point in result["points"]:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")
    run = result["computed"]
    if run is None:
        return
    click.echo(
        f"computed on {nodes_in_words(run['nodes'])}: {run['steps']:,} steps of {run['grid_rows']:,} x"
        f" {run['grid_columns']:,} points by {run['processes']:,} processes, which sent one another"
        f" {size_in_words(run['halo_bytes'])}; then {run['fields']:,} fields looked through where they are"
    )
    shares = ", ".join(f"class {number} {100 * share:.1f} %" for number, share in enumerate(run["class_shares"]))
    click.echo(f"of the points are {shares}")
    if result["measured"] is not None:
        weights = "" if run["trained"] else ", with fresh, untrained weights (give --weights for trained ones)"
        found = measure_in_words(result["measure"], result["measured"])
        click.echo(f"{found} of what was where before the steps{weights}")


def _computed(
    workload: ClimateWorkload, setup: Setup, request: InferRequest, say: Callable[[str, float | None], None]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The workflow on the smallest number of nodes: what the result says of it, and the arrays."""
    nodes, groups = min(request.nodes), setup.machine.processor.core_groups
    grid = near_square(nodes * groups)
    counts = grid[0] * workload.windows[0], grid[1] * workload.windows[1]
    variables = network_variables(setup, weights=request.weights, seed=request.seed)
    start = _start(setup, counts[0] * counts[1], request.inputs or {})
    run = run_climate(
        workload,
        setup=setup,
        grid=grid,
        globe=side_by_side(start.fields, counts).astype(np.float64),
        variables=variables,
        sample=start.calibration,
        say=say,
    )
    shares = np.bincount(run.classes.ravel(), minlength=run.outputs.shape[-1]) / run.classes.size
    computed = {
        "nodes": nodes,
        "processes": nodes * groups,
        "grid_rows": run.fields.shape[0],
        "grid_columns": run.fields.shape[1],
        "fields": len(start.fields),
        "steps": workload.steps,
        "halo_bytes": run.halo_bytes,
        "class_shares": [float(share) for share in shares],
        "trained": request.weights is not None,
    }
    found: dict[str, Any] = {"computed": computed}
    if start.measure is not None and start.truth is not None:
        found |= {"measure": start.measure.name, "measured": _measured(run, start.measure, start.truth, counts)}
    return found, {"fields": run.fields, "classes": run.classes}


def _measured(run: ClimateRun, measure: Measure, truth: Array, counts: Grid) -> float:
    wanted = side_by_side(truth, counts)
    return measure.value(measure.totals({measure.output: run.outputs}, {measure.target: wanted}))


def _start(setup: Setup, count: int, given: Arrays) -> _Start:
    """``count`` fields: given ones or those of the test set, begun again as often as needed."""
    name = setup.graph.inputs[0].name
    needs_data = setup.mapping.integers is not None or not given
    data = load_dataset(setup.workload, setup.model) if needs_data else None
    calibration = None if data is None else calibration_sample(setup, data)
    if given:
        fields = bound_inputs(given, setup.graph)[name]
        return _Start(fields=_repeated(fields, count), truth=None, measure=None, calibration=calibration)
    assert data is not None
    batch = data.test.batch(np.arange(min(count, len(data.test))))
    fields = _repeated(batch.inputs[name], count)
    measure = measure_of(setup.workload, data, setup.model)
    if measure is None or measure.output != setup.graph.output or batch.targets[measure.target].ndim != 3:
        return _Start(fields=fields, truth=None, measure=None, calibration=calibration)
    truth = _repeated(batch.targets[measure.target], count)
    return _Start(fields=fields, truth=truth, measure=measure, calibration=calibration)


def _repeated(samples: Array, count: int) -> Array:
    found: Array = samples[np.arange(count) % len(samples)]
    return found


def _as_inference(point: dict[str, Any], *, alone: float) -> dict[str, Any]:
    """A point with the fields that every inference has; ``alone``: fields per second of one node."""
    return {
        "batch": point["fields"] // point["nodes"],
        "seconds_per_batch": point["seconds_in_place"],
        "samples_per_second": point["fields_per_second"],
        "efficiency": point["fields_per_second"] / point["nodes"] / alone,
        "latency_p50": point["seconds_in_place"],
        "latency_p99": point["seconds_in_place"],
        **point,
    }


def _run_problems(setup: Setup, workload: ClimateWorkload, nodes: int) -> list[Problem]:
    """What keeps the workflow from being computed, beside its time."""
    rows, columns, _ = field_shape(setup, workload)
    found = []
    points = nodes * setup.machine.processor.core_groups * workload.fields * rows * columns
    if points > MOST_POINTS:
        expected = f"off for more than {MOST_POINTS:,} points, or fewer nodes or windows to compute with"
        found.append(
            Problem(file="--numerics", key="", value=f"{points:,} points on {nodes:,} nodes", expected=expected)
        )
    if setup.graph.output_shape[:-1] != (rows, columns):
        expected = "a network that says of every point what it is"
        file = f"workload {workload.name}"
        found.append(Problem(file=file, key="network", value=workload.network, expected=expected))
    return found
