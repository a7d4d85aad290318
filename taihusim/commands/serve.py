"""``taihusim serve``: latencies of an inference service on a simulated machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taihusim.console import print_json, print_table, progress
from taihusim.options import PositiveNumber, json_option, run_options, set_option, split_settings
from workloads.words import nodes_in_words, number_in_words, seconds_in_words


@click.command(name="serve")
@click.argument("workload")
@run_options
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,256,40960.")
@click.option("--rate", type=PositiveNumber(least=1e-6, most=1e15), help="Requests per second at all nodes together.")
@click.option(
    "--load",
    type=PositiveNumber(least=1e-6, most=1e6),
    default=0.7,
    show_default=True,
    help="Without --rate: what arrives, as a share of what the nodes can answer.",
)
@click.option(
    "--arrivals",
    type=click.Path(path_type=Path),
    help="File of recorded arrivals, a time in seconds a line, in place of random ones.",
)
@click.option(
    "--batch-sizes",
    metavar="LIST",
    help="Batches the network is prepared for, e.g. 1,8,32.  [default: the batch per node and quarters of it]",
)
@click.option("--max-wait", default="0s", show_default=True, help="How long a request may wait for a batch to fill.")
@click.option(
    "--requests",
    type=click.IntRange(min=100, max=10_000_000),
    default=100_000,
    show_default=True,
    help="Random requests to simulate.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the arrivals.")
@set_option
@json_option
def command(
    workload: str,
    nodes: str,
    rate: float | None,
    load: float,
    arrivals: Path | None,
    batch_sizes: str | None,
    max_wait: str,
    requests: int,
    seed: int,
    settings: tuple[str, ...],
    as_json: bool,
    **run: Any,
) -> None:
    """Serve requests for WORKLOAD (a name, a YAML file or an ONNX file) on nodes that each hold the whole network.

    Requests arrive at random or as recorded, are handed to the nodes in turn and answered in batches. Prints, for every
    node count: what the nodes can answer, how full their batches are, the latencies that half, 99 % and 99.9 % of the
    requests do not exceed, and what they wait for.

    Examples:

    \b
      taihusim serve resnet50 --nodes 1,256,40960 --load 0.8
      taihusim serve digits --nodes 16 --rate 200000 --max-wait 1ms --json
    """
    from sim.problems import BadInput, Problem
    from taihusim.node_counts import node_counts
    from taihusim.planning import collect, plan_steps
    from taihusim.serve import ServeRequest, read_arrivals, read_sizes, read_wait, serve

    problems: list[Problem] = []
    counts = collect(problems, lambda: node_counts(nodes))
    sizes = None if batch_sizes is None else collect(problems, lambda: read_sizes(batch_sizes))
    wait = collect(problems, lambda: read_wait(max_wait))
    recorded = None if arrivals is None else collect(problems, lambda: read_arrivals(arrivals))
    if arrivals is not None and rate is not None:
        problems.append(Problem(file="--rate", key="", value=rate, expected="nothing beside --arrivals"))
    steps = collect(
        problems,
        lambda: plan_steps(
            workload=workload,
            machine=run["machine"],
            mapping=run["mapping"],
            settings=split_settings(settings),
            mapping_flags=run["mapping_flags"],
        ),
    )
    if problems or steps is None or counts is None or wait is None:
        raise BadInput(problems)
    request = ServeRequest(
        nodes=counts, batch_sizes=sizes, max_wait_seconds=wait, rate=rate, load=load, arrivals=recorded,
        requests=requests, seed=seed,
    )  # fmt: skip
    with progress() as report:
        result = serve(steps, request, say=report.say)
    if as_json:
        print_json(result)
        return
    _print(result)


def _print(result: dict[str, Any]) -> None:
    columns = (
        "nodes",
        "requests/s",
        "of capacity",
        "batch",
        "busy",
        "half within",
        "99 % within",
        "99.9 % within",
        "J",
    )
    rows = [
        (
            f"{point['nodes']:,}",
            number_in_words(point["requests_per_second"]),
            f"{100 * point['load']:,.0f} %",
            None if point["mean_batch"] is None else f"{point['mean_batch']:.1f}",
            None if point["utilisation"] is None else f"{100 * point['utilisation']:.0f} %",
            *(seconds_in_words(point[name]) for name in ("latency_p50", "latency_p99", "latency_p999")),
            None
            if point["energy_joules_per_request"] is None
            else number_in_words(point["energy_joules_per_request"], digits=3),
        )
        for point in result["points"]
    ]
    title = f"{result['workload']} served by {result['machine']}, simulated time; J: energy of a request"
    print_table(columns, rows, title=title, right=columns)
    click.echo()
    for point in result["points"]:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")
