"""``taihusim infer``: answer with a trained model on a simulated machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taihusim.console import print_json, print_table, progress
from taihusim.options import json_option, run_options, set_option, split_settings
from taihusim.version import package_version
from workloads.words import measure_in_words, nodes_in_words, seconds_in_words


@click.command(name="infer")
@click.argument("workload")
@run_options
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,16,256.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights of a training run (weights.npz).  [default: fresh ones, drawn from the seed]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of fresh weights.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for record, outputs and figure.")
@set_option
@json_option
def command(
    workload: str,
    nodes: str,
    weights: Path | None,
    seed: int,
    out: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    **run: Any,
) -> None:
    """Run inference of WORKLOAD (a name or a YAML file) on a simulated machine.

    Computes the outputs of the test set and prints, for every node count: samples per second, latency, efficiency
    against one node, and what holds it back.

    Examples:

    \b
      taihusim infer digits --nodes 1,256,40960 --weights runs/digits/weights.npz
      taihusim infer digits --batch-per-node 256 --json
    """
    from taihusim.infer import InferRequest, infer
    from taihusim.run_folder import RunFolder
    from taihusim.setup import prepare
    from taihusim.train import node_counts

    setup = prepare(
        workload=workload,
        machine=run["machine"],
        mapping=run["mapping"],
        settings=split_settings(settings),
        mapping_flags=run["mapping_flags"],
    )
    folder = None if out is None else RunFolder(path=out, setup=setup, seed=seed, version=package_version())
    if folder is not None:
        folder.check()
    with progress() as report:
        report.say(f"inference of {setup.workload.name}", None)
        done = infer(setup, InferRequest(nodes=node_counts(nodes), seed=seed, weights=weights))
    result: dict[str, Any] = {
        "workload": setup.workload.name,
        "machine": setup.machine.name,
        "points": done.points,
        "outputs": None,
        "test_accuracy": done.accuracy,
        "measure": None if done.measure is None else done.measure.name,
        "measured": done.measured,
    }
    written: list[Path] = []
    if folder is not None:
        result, written = folder.save_inference(result, outputs=done.outputs)
    if as_json:
        print_json(result)
        return
    _print(result, trained=done.trained)
    for path in written:
        click.echo(f"wrote {path}")


def _print(result: dict[str, Any], *, trained: bool) -> None:
    columns = ("nodes", "cores", "batch per node", "samples/s", "latency", "efficiency")
    rows = [
        (
            f"{point['nodes']:,}",
            f"{point['cores']:,}",
            f"{point['batch']:,}",
            f"{point['samples_per_second']:,.0f}",
            seconds_in_words(point["latency_p50"]),
            None if point["efficiency"] is None else f"{100 * point['efficiency']:.1f} %",
        )
        for point in result["points"]
    ]
    title = f"inference of {result['workload']} on {result['machine']}, simulated time"
    print_table(columns, rows, title=title, right=columns)
    click.echo()
    for point in result["points"]:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")
    if result["measured"] is not None:
        weights = "" if trained else " with fresh, untrained weights (give --weights for trained ones)"
        click.echo(f"test {measure_in_words(result['measure'], result['measured'])}{weights}")
