"""``taihusim faults``: how long a run takes on a machine that fails, and how often to write checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from taihusim.console import print_json, print_table, progress
from taihusim.options import PositiveNumber, json_option, set_option, split_settings
from workloads.words import nodes_in_words, seconds_in_words, size_in_words


@click.command(name="faults")
@click.argument("workload")
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,1024,40960.")
@click.option(
    "--hours",
    type=PositiveNumber(most=1e6),
    required=True,
    help="Hours of work, as if nothing failed and nothing were saved.",
)
@click.option("--interval", default="auto", show_default=True, help="Work between checkpoints, e.g. 600s or 2h.")
@click.option(
    "--writers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Nodes that write a checkpoint together.",
)
@click.option(
    "--runs", type=click.IntRange(min=2, max=100_000), default=1000, show_default=True, help="Runs to simulate."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the failures.")
@click.option("--machine", default="sunway_taihulight", show_default=True, help="Machine, name or file.")
@click.option("--mapping", default="default", show_default=True, help="Mapping, name or file.")
@set_option
@json_option
def command(
    workload: str,
    nodes: str,
    hours: float,
    interval: str,
    writers: int,
    runs: int,
    seed: int,
    machine: str,
    mapping: str,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Expected time to completion of training WORKLOAD (a name or a YAML file) while nodes and links fail.

    Prints, for every node count: how often something fails, what a checkpoint costs, the best interval between
    checkpoints, the time by formula and by simulated runs, and where it goes; then the time for other intervals.

    Examples:

    \b
      taihusim faults resnet50 --nodes 1,1024,40960 --hours 24
      taihusim faults gpt2 --nodes 4096 --hours 200 --interval 600s --writers 32 --json
    """
    from sim.problems import BadInput, Problem
    from taihusim.faults import FaultsRequest, faults, read_interval, request_problems
    from taihusim.node_counts import node_counts
    from taihusim.planning import collect, plan_steps

    problems: list[Problem] = []
    counts = collect(problems, lambda: node_counts(nodes))
    seconds = collect(problems, lambda: read_interval(interval))
    noun = split_settings(settings)
    steps = collect(problems, lambda: plan_steps(workload=workload, machine=machine, mapping=mapping, settings=noun))
    request = FaultsRequest(
        nodes=counts or (), hours=hours, interval_seconds=seconds, writers=writers, runs=runs, seed=seed
    )
    if steps is not None and counts is not None:
        problems += request_problems(request, machine=steps.machine)
    if problems or steps is None:
        raise BadInput(problems)
    points = []
    with progress() as report:
        for number, point in enumerate(faults(steps, request)):
            points.append(point)
            report.say(f"{nodes_in_words(point['nodes'])} done", (number + 1) / len(request.nodes))
    result = {
        "workload": steps.facts.name,
        "machine": steps.machine.name,
        "hours": hours,
        "seed": seed,
        "runs": runs,
        "writers": writers,
        "points": points,
    }
    if as_json:
        print_json(result)
        return
    _print(result)


def _print(result: dict[str, Any]) -> None:
    points: Sequence[dict[str, Any]] = result["points"]
    columns = (
        "nodes",
        "fails every",
        "checkpoint",
        "written in",
        "interval",
        "expected",
        "90 % of runs",
        "useful",
        "lost",
    )
    rows = [
        (
            f"{point['nodes']:,}",
            seconds_in_words(point["mtbf_seconds"]),
            size_in_words(point["checkpoint_bytes"]),
            seconds_in_words(point["checkpoint_write_seconds"]),
            seconds_in_words(point["interval_seconds"]),
            "never" if point["expected_seconds"] is None else seconds_in_words(point["expected_seconds"]),
            _range(point),
            f"{100 * point['useful_fraction']:.1f} %",
            None if point["shares"] is None else f"{100 * point['shares']['lost']:.1f} %",
        )
        for point in points
    ]
    title = f"{result['workload']} on {result['machine']}, {result['hours']:g} hours of work"
    print_table(columns, rows, title=title, right=columns)
    click.echo()
    for point in points:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")
    last = points[-1]
    click.echo()
    print_table(
        ("interval", "expected"),
        [
            (
                seconds_in_words(each["interval_seconds"]),
                "never" if each["expected_seconds"] is None else seconds_in_words(each["expected_seconds"]),
            )
            for each in last["curve"]
        ],
        title=f"other intervals on {nodes_in_words(last['nodes'])}",
        right=("interval", "expected"),
    )


def _range(point: dict[str, Any]) -> str | None:
    if point["simulated_seconds"] is None:
        return None
    low, high = (seconds_in_words(point[f"simulated_seconds_{end}"]) for end in ("low", "high"))
    return f"{low} to {high}"
