"""``taihusim infer``: answer with a trained model on a simulated machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from taihusim.console import print_json, progress
from taihusim.inference_table import print_inference_table
from taihusim.options import json_option, run_options, set_option, split_settings
from taihusim.version import package_version
from workloads.words import measure_in_words, nodes_in_words

if TYPE_CHECKING:
    from taihusim.infer import InferRequest

SHOWN: Final = 8
"""Numbers of an answer that are printed."""


@click.command(name="infer")
@click.argument("workload")
@run_options
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,16,256.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights of a training run (weights.npz).  [default: fresh ones, drawn from the seed]",
)
@click.option(
    "--input",
    "given",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Samples to answer, a .npy file; of several inputs each by name.  [default: the test set]",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="AXIS=LENGTH", help="Length of an axis that a model file leaves open."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of fresh weights.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for record, outputs and figure.")
@set_option
@json_option
def command(
    workload: str,
    nodes: str,
    weights: Path | None,
    given: tuple[str, ...],
    shapes: tuple[str, ...],
    seed: int,
    out: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    **run: Any,
) -> None:
    """Run inference of WORKLOAD (a name, a YAML file or an ONNX file) on a simulated machine.

    Computes the outputs of the test set, or of the samples given with --input, and prints, for every node count:
    samples per second, latency, efficiency against one node, and what holds it back. Of the workflow climate the steps
    of the core are computed too, on the smallest number of nodes, and what its network says of the fields then.

    Examples:

    \b
      taihusim infer digits --nodes 1,256,40960 --weights runs/digits/weights.npz
      taihusim infer digits --batch-per-node 256 --json
      taihusim infer model.onnx --input x.npy --out runs/model
      taihusim infer climate --set workload.windows=[1,1] --set workload.steps=10 --json
    """
    from taihusim.given_inputs import bound_inputs, read_inputs, read_shapes
    from taihusim.infer import InferRequest, infer
    from taihusim.node_counts import node_counts
    from taihusim.run_folder import RunFolder
    from taihusim.setup import prepare
    from workloads.hpc.names import program_kind

    arrays = read_inputs(given)
    if program_kind(workload) == "climate":
        if shapes:
            raise click.UsageError("--shape is for model files")
        asked = InferRequest(nodes=node_counts(nodes), seed=seed, weights=weights, inputs=arrays or None)
        _infer_climate(workload, asked, settings=settings, out=out, as_json=as_json, **run)
        return
    setup = prepare(
        workload=workload,
        machine=run["machine"],
        mapping=run["mapping"],
        settings=split_settings(settings),
        mapping_flags=run["mapping_flags"],
        shapes=read_shapes(shapes, workload=workload),
        samples=len(next(iter(arrays.values()))) if arrays else 1,
    )
    inputs = bound_inputs(arrays, setup.graph) if arrays else None
    folder = None if out is None else RunFolder(path=out, setup=setup, seed=seed, version=package_version())
    if folder is not None:
        folder.check()
    with progress() as report:
        report.say(f"inference of {setup.workload.name}", None)
        done = infer(setup, InferRequest(nodes=node_counts(nodes), seed=seed, weights=weights, inputs=inputs))
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
    if inputs is not None and done.outputs is not None:
        for name, numbers in done.outputs.items():
            click.echo(_answer(name, numbers))
    for path in written:
        click.echo(f"wrote {path}")


def _infer_climate(
    name: str, request: InferRequest, *, settings: tuple[str, ...], out: Path | None, as_json: bool, **run: Any
) -> None:
    """Steps of the core, and what the network says of the fields where they are."""
    from taihusim.places import check_folder
    from taihusim.programs.infer import infer_climate, print_climate_inference
    from taihusim.run_folder import RunFolder

    check_folder(out)
    with progress() as report:
        done = infer_climate(
            name,
            request,
            machine=run["machine"],
            mapping=run["mapping"],
            settings=split_settings(settings),
            flags=run["mapping_flags"],
            say=report.say,
        )
    result = done.result
    written: list[Path] = []
    if out is not None:
        folder = RunFolder(
            path=out, setup=done.setup, seed=request.seed, version=package_version(), program=done.workload
        )
        result, written = folder.save_inference(result, outputs=done.outputs)
    if as_json:
        print_json(result)
        return
    print_climate_inference(result)
    for path in written:
        click.echo(f"wrote {path}")


def _print(result: dict[str, Any], *, trained: bool) -> None:
    title = f"inference of {result['workload']} on {result['machine']}, simulated time"
    print_inference_table(result["points"], title=title)
    click.echo()
    for point in result["points"]:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")
    if result["measured"] is not None:
        weights = "" if trained else " with fresh, untrained weights (give --weights for trained ones)"
        click.echo(f"test {measure_in_words(result['measure'], result['measured'])}{weights}")


def _answer(name: str, outputs: Any) -> str:
    """The shape of the output, and how the first sample's begins."""
    first = outputs[0].reshape(-1)
    numbers = ", ".join(f"{value:.6g}" for value in first[:SHOWN])
    more = ", ..." if first.size > SHOWN else ""
    return f"output {name} {outputs.shape}, first sample: {numbers}{more}"
