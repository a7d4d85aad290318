"""``taihusim workload``: what workloads there are, and what their networks are made of."""

from __future__ import annotations

from typing import Any, cast

import click

from nnlib.precision import DTypeName
from taihusim.console import print_json, print_table
from taihusim.options import json_option, set_option, split_settings
from workloads.words import size_in_words


@click.group(name="workload")
def command() -> None:
    """Show the workloads that come with taihusim, and the network of any workload layer by layer.

    A workload is a name (see `taihusim workload list`), a YAML file or an ONNX file.

    Example: taihusim workload show resnet50
    """


@command.command(name="list")
@json_option
def list_command(as_json: bool) -> None:
    """List the workloads that come with taihusim, and the programs that are no networks.

    Example: taihusim workload list
    """
    from workloads.hpc.files import list_programs, load_program
    from workloads.load import list_workloads, load_workload

    rows: list[dict[str, Any]] = []
    for name in list_workloads():
        workload = load_workload(name)
        graph = workload.model.built.graph
        rows.append(
            {
                "workload": name,
                "title": workload.title,
                "parameters": graph.parameter_count,
                "multiply_accumulates": sum(graph.multiply_accumulates.values()),
            }
        )
    programs = [{"program": name, "title": load_program(name).title} for name in list_programs()]
    if as_json:
        print_json({"workloads": rows, "programs": programs})
        return
    columns = ("name", "title", "parameters", "multiply-accumulates")
    table = [
        (row["workload"], row["title"], f"{row['parameters']:,}", _count(row["multiply_accumulates"])) for row in rows
    ]
    print_table(columns, table, right=columns[2:])
    click.echo()
    print_table(("program", "title, for taihusim predict"), [tuple(row.values()) for row in programs])


@command.command(name="show")
@click.argument("workload", metavar="NAME|FILE")
@click.option(
    "--batch", type=click.IntRange(min=1), help="Samples of a core group.  [default: a quarter of the recipe's batch]"
)
@click.option(
    "--precision", type=click.Choice(["fp64", "fp32"]), default="fp32", show_default=True, help="Number format."
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="AXIS=LENGTH", help="Length of an axis that a model file leaves open."
)
@set_option
@json_option
def show_command(
    workload: str,
    batch: int | None,
    precision: str,
    shapes: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show a workload's network: parameters, multiply-accumulates and activation memory of every layer.

    Below the table: what a core group needs in main memory for its samples. Of a program that is no network: its size,
    operations and memory, and the choices that may be made.

    Examples:

    \b
      taihusim workload show resnet50
      taihusim workload show resnet50 --batch 8 --json
      taihusim workload show model.onnx --shape width=8
      taihusim workload show hpl
    """
    from workloads.hpc.names import is_program

    if is_program(workload):
        if batch is not None or shapes:
            raise click.UsageError(f"{'--shape' if shapes else '--batch'} is for networks")
        _show_program(workload, settings=settings, as_json=as_json)
        return
    from taihusim.given_inputs import read_shapes
    from taihusim.network_table import network_table
    from taihusim.workload_source import SAMPLES_OF_FILE, WorkloadSource

    loaded = WorkloadSource(
        name=workload,
        settings=split_settings(settings).workload,
        shapes=read_shapes(shapes, workload=workload),
        samples=SAMPLES_OF_FILE,
        trained=True,
    ).load()
    size = batch or -(-loaded.recipe.batch_per_node // 4)
    model = loaded.model.built
    table = network_table(model, batch=size, dtype=cast(DTypeName, precision))
    if as_json:
        print_json(
            {
                "workload": loaded.name,
                "title": loaded.title,
                "inputs": {each.name: list(each.shape) for each in model.graph.inputs},
                "outputs": {name: list(model.graph.shapes[name]) for name in model.graph.outputs},
                "parameters": table.parameters,
                "multiply_accumulates": table.multiply_accumulates,
                "activation_bytes": table.activation_bytes,
                "precision": precision,
                "batch": size,
                "training_bytes_per_core_group": table.training_bytes,
                "inference_bytes_per_core_group": table.inference_bytes,
                "layers": [vars(row) for row in table.rows],
            }
        )
        return
    rows: list[tuple[Any, ...]] = [
        (
            row.layer,
            row.kind,
            " x ".join(str(length) for length in row.shape) or "1",
            f"{row.parameters:,}" if row.parameters else None,
            _count(row.multiply_accumulates) if row.multiply_accumulates else None,
            size_in_words(row.activation_bytes),
        )
        for row in table.rows
    ]
    total = (f"{table.parameters:,}", _count(table.multiply_accumulates), size_in_words(table.activation_bytes))
    rows.append(("all layers", "", "", *total))
    columns = ("layer", "type", "output", "parameters", "multiply-accumulates", f"activation, {precision}")
    print_table(columns, rows, title=f"{loaded.title} ({loaded.name}), one sample", right=columns[2:])
    click.echo()
    training = "" if table.training_bytes is None else f"{size_in_words(table.training_bytes)} in training, "
    inference = f"{size_in_words(table.inference_bytes)} in inference"
    click.echo(f"main memory of a core group for {size:,} samples: {training}{inference}")


def _show_program(name: str, *, settings: tuple[str, ...], as_json: bool) -> None:
    """A program that is no network."""
    from taihusim.programs.show import print_facts, program_facts

    facts = program_facts(name, settings=split_settings(settings))
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def _count(number: int) -> str:
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= limit:
            return f"{number / limit:.4g} {unit}"
    return str(number)
