"""``taihusim predict``: what a machine would do at every number of nodes, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taihusim.console import print_json, progress
from taihusim.options import json_option, run_options, set_option, split_settings


@click.command(name="predict")
@click.argument("workload")
@run_options
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,64,1024,40960.")
@click.option(
    "--target",
    type=click.Choice(["training", "inference", "both"]),
    default="both",
    show_default=True,
    help="What to predict.",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="AXIS=LENGTH", help="Length of an axis that a model file leaves open."
)
@click.option(
    "--sensitivity",
    type=click.Choice(["network", "chip"]),
    is_flag=False,
    flag_value="network",
    help="Also what would relieve training: each parameter of network, storage and node a tenth better; with chip also "
    "the chip's times and rates, kernels keeping their plans.",
)
@click.option("--noise", is_flag=True, help="Let ranks be unequal, as the machine file's section noise has it.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the noise.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the figure and the numbers as JSON.")
@set_option
@json_option
def command(
    workload: str,
    nodes: str,
    target: str,
    shapes: tuple[str, ...],
    sensitivity: str | None,
    noise: bool,
    seed: int,
    out: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    **run: Any,
) -> None:
    """Predict training and inference of WORKLOAD (a name, a YAML file or an ONNX file) at every scale.

    Nothing is trained: the time of a step follows from what every node does and what the network has to carry. Prints,
    for every node count: samples per second, efficiency against one node, where the time goes, what holds it back, how
    sure that is, and how long the whole training takes.

    Examples:

    \b
      taihusim predict resnet50 --nodes 1,64,1024,40960
      taihusim predict digits --nodes 4096 --global-batch 65536 --json
      taihusim predict hpl --nodes 1,256
    """
    from taihusim.node_counts import node_counts
    from workloads.hpc.names import is_program

    if is_program(workload):
        if noise:
            raise click.UsageError("--noise is for networks: a program's processes are equal")
        if out is not None:
            raise click.UsageError("--out is for networks: --json prints all that is said of a program")
        if shapes or target != "both":
            raise click.UsageError(f"{'--shape' if shapes else '--target'} is for networks")
        if sensitivity == "chip":
            raise click.UsageError("--sensitivity chip is for networks: a program has --sensitivity without a word")
        counts, varied = node_counts(nodes), sensitivity is not None
        run |= {"sensitivity": varied, "seed": seed}
        _predict_program(workload, nodes=counts, settings=settings, as_json=as_json, **run)
        return
    from taihusim.places import check_folder
    from taihusim.planning import plan_steps
    from taihusim.predict import PredictRequest, predict
    from taihusim.workload_source import SAMPLES_OF_FILE

    check_folder(out)
    steps = plan_steps(
        workload=workload,
        machine=run["machine"],
        mapping=run["mapping"],
        settings=split_settings(settings),
        mapping_flags=run["mapping_flags"],
        shapes=_lengths(shapes, workload),
        samples=SAMPLES_OF_FILE,
        trained=True,
    )
    if sensitivity is not None and (target == "inference" or not steps.facts.learns):
        raise click.UsageError("--sensitivity is about training: what would relieve a step of it")
    request = PredictRequest(nodes=node_counts(nodes), target=target, seed=seed if noise else None)  # type: ignore[arg-type]
    with progress() as report:
        result = predict(steps, request, say=report.say)
        if sensitivity is not None and result["points"]:
            from taihusim.sensitivity import sensitivity as relieve

            result["sensitivity"] = relieve(
                steps,
                machine=run["machine"],
                settings=split_settings(settings).machine,
                nodes=request.nodes,
                reach=sensitivity,  # type: ignore[arg-type]
                seed=request.seed,
                say=report.say,
            )
    written = [] if out is None else _save(result, out)
    if as_json:
        print_json(result)
        return
    from taihusim.prediction_table import print_prediction

    print_prediction(result)
    for path in written:
        click.echo(f"wrote {path}")


def _save(result: dict[str, Any], out: Path) -> list[Path]:
    """Write numbers and figure; returns the files."""
    import json

    from taihusim.figure_prediction import save_prediction
    from workloads.files import replaced

    out.mkdir(parents=True, exist_ok=True)
    written = [out / "predict.json", out / "predict.png"]
    with replaced(written[0]) as file:
        file.write((json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    save_prediction(result, written[1])
    return written


def _lengths(shapes: tuple[str, ...], workload: str) -> dict[str, int]:
    if not shapes:
        return {}
    from taihusim.given_inputs import read_shapes

    return read_shapes(shapes, workload=workload)


def _predict_program(
    name: str, *, nodes: tuple[int, ...], settings: tuple[str, ...], as_json: bool, **run: Any
) -> None:
    """A program that is no network, such as Linpack."""
    from taihusim.programs.predict import predict_program, print_program

    with progress() as report:
        result = predict_program(
            name,
            machine=run["machine"],
            mapping=run["mapping"],
            settings=split_settings(settings),
            nodes=nodes,
            flags=run["mapping_flags"],
            sensitivity=run["sensitivity"],
            seed=run["seed"],
            say=report.say,
        )
    if as_json:
        print_json(result)
    else:
        print_program(result)
