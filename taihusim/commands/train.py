"""``taihusim train``: train a workload on a simulated machine, numbers and time from one execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taihusim.console import Progress, print_json, print_table, progress
from taihusim.interruption import stop_requested
from taihusim.options import PositiveNumber, json_option, run_options, set_option, split_settings
from taihusim.version import package_version
from workloads.words import measure_in_words, measure_name, measure_value, nodes_in_words, seconds_in_words

if TYPE_CHECKING:
    from taihusim.training_run import Reached
    from workloads.training import Goal


@click.command(name="train")
@click.argument("workload")
@run_options
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,16,256.")
@click.option("--epochs", type=PositiveNumber(most=1e6), help="Train for so many epochs.")
@click.option(
    "--until-accuracy",
    type=PositiveNumber(most=1),
    help="Train until this test accuracy.  [default: the recipe's]",
)
@click.option(
    "--optimizer",
    type=click.Choice(["sgd", "lars", "adam", "adamw", "lamb"]),
    help="Replace the recipe's optimiser.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for record, weights, checkpoints and figure.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Node counts of a small network that are trained at a time.  [default: one for each processor]",
)
@set_option
@json_option
def command(
    workload: str,
    nodes: str,
    epochs: float | None,
    until_accuracy: float | None,
    optimizer: str | None,
    seed: int,
    out: Path | None,
    resume: bool,
    processes: int | None,
    settings: tuple[str, ...],
    as_json: bool,
    **run: Any,
) -> None:
    """Train WORKLOAD (a name or a YAML file) on a simulated machine.

    Prints, for every node count: cores, global batch, test accuracy, predicted seconds per step and to the accuracy,
    where the time goes, and what holds it back.

    Examples:

    \b
      taihusim train digits --nodes 1,16,256,4096,40960 --out runs/digits
      taihusim train digits --nodes 4 --epochs 2 --numerics off --json
    """
    from sim.problems import BadInput, Problem
    from taihusim.node_counts import node_counts
    from taihusim.run_folder import RunFolder
    from taihusim.setup import prepare
    from taihusim.side_by_side import processors
    from taihusim.train import train
    from taihusim.training_run import TrainRequest

    if resume and out is None:
        raise BadInput([Problem(file="--resume", key="", value=None, expected="--out, the folder of the run")])
    setup = prepare(
        workload=workload,
        machine=run["machine"],
        mapping=run["mapping"],
        settings=split_settings(settings),
        optimizer=optimizer,
        mapping_flags=run["mapping_flags"],
    )
    request = TrainRequest(
        nodes=node_counts(nodes),
        seed=seed,
        epochs=epochs,
        until_accuracy=until_accuracy,
        folder=out,
        resume=resume,
    )
    folder = None if out is None else RunFolder(path=out, setup=setup, seed=seed, version=package_version())
    if folder is not None:
        folder.check()
    with progress() as report, stop_requested(report.note) as stop:
        at_a_time = processes or processors()
        trained = train(setup, request, watch=_Watch(report), stop=stop, processes=at_a_time)
    result = {
        "workload": setup.workload.name,
        "machine": setup.machine.name,
        "seed": seed,
        "runs": [each.result for each in trained],
    }
    written: list[Path] = []
    if folder is not None:
        written = folder.save_training(result, parameters=[each.parameters for each in trained])
    if as_json:
        print_json(result)
        return
    _print(result)
    for path in written:
        click.echo(f"wrote {path}")


@dataclass(frozen=True)
class _Watch:
    """Says after every step how far the trainings are that are under way, and after every one what came out."""

    report: Progress
    under_way: dict[int, tuple[str, float | None]] = field(default_factory=dict)

    def step(self, nodes: int, reached: Reached, goal: Goal) -> None:
        loss = "" if reached.loss is None else f", loss {reached.loss:.4f}"
        good = "" if reached.measured is None else f", {measure_in_words(goal.measure, reached.measured)}"
        share = None if goal.steps is None else reached.step / goal.steps
        self.under_way[nodes] = f"{nodes_in_words(nodes)}: step {reached.step:,}{loss}{good}", share
        texts, shares = zip(*self.under_way.values(), strict=True)
        known = [each for each in shares if each is not None]
        self.report.say("; ".join(texts), min(known) if known else None)

    def run(self, result: Mapping[str, Any]) -> None:
        self.under_way.pop(result["nodes"], None)
        if result["measured"] is not None:
            took = seconds_in_words(result["seconds_total"])
            steps = f"{result['steps']:,} steps, {took} of simulated time"
            good = measure_in_words(result["measure"], result["measured"])
            self.report.note(f"{nodes_in_words(result['nodes'])}: {good} after {steps}")


def _print(result: dict[str, Any]) -> None:
    runs = result["runs"]
    columns = (
        "nodes",
        "cores",
        "batch",
        "steps",
        measure_name(runs[0]["measure"]),
        "s/step",
        "total",
        "compute",
        "DMA wait",
        "communication",
        "efficiency",
    )
    rows = [
        (
            f"{run['nodes']:,}",
            f"{run['cores']:,}",
            f"{run['global_batch']:,}",
            f"{run['steps']:,}",
            None if run["measured"] is None else measure_value(run["measure"], run["measured"]),
            seconds_in_words(run["seconds_per_step"]),
            seconds_in_words(run["seconds_total"]),
            _percent(run["shares"].get("compute", 0.0)),
            _percent(run["shares"].get("dma_wait", 0.0)),
            _percent(run["shares"]["communication_exposed"]),
            None if run["efficiency"] is None else _percent(run["efficiency"]),
        )
        for run in runs
    ]
    print_table(columns, rows, title=f"{result['workload']} on {result['machine']}, simulated time", right=columns)
    click.echo()
    for run in runs:
        goal = "" if run["reached"] is not False else " (did not reach the goal)"
        click.echo(f"{nodes_in_words(run['nodes'])}{goal}: {run['bottleneck']}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
