"""``taihusim compare``: machines side by side on one workload."""

from __future__ import annotations

from typing import Any, Final

import click

from taihusim.console import print_json, progress
from taihusim.options import json_option, mapping_options, set_option, split_settings

SAMPLES_OF_FILE: Final = 32
"""Samples at a time on a node for a model file, which has no recipe."""


@click.command(name="compare")
@click.argument("workload")
@click.option(
    "--machines",
    required=True,
    metavar="A,B,...",
    help="Machines, names or files; the first is what the others are measured by.",
)
@click.option("--nodes", default="1", show_default=True, metavar="LIST", help="Node counts, e.g. 1,64,512.")
@click.option(
    "--target",
    type=click.Choice(["training", "inference"]),
    default="training",
    show_default=True,
    help="What to compare.",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="AXIS=LENGTH", help="Length of an axis that a model file leaves open."
)
@mapping_options
@set_option
@json_option
def command(
    workload: str,
    machines: str,
    nodes: str,
    target: str,
    shapes: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    **run: Any,
) -> None:
    """Set machines side by side on WORKLOAD (a name, a YAML file or an ONNX file).

    Prints, for every node count and machine: samples per second and how many times the first machine's, time of a step,
    efficiency against one node, share of the peak, energy, memory, and in words what holds it back.

    Examples:

    \b
      taihusim compare resnet50 --machines sunway_taihulight,k40m_cluster --nodes 1,64,512 --precision fp32
      taihusim compare digits --machines sunway_taihulight,k40m_node --json
    """
    from taihusim.compare import CompareRequest, compare, machine_names
    from taihusim.given_inputs import read_shapes
    from taihusim.node_counts import node_counts

    request = CompareRequest(
        workload=workload,
        machines=machine_names(machines),
        nodes=node_counts(nodes),
        target=target,  # type: ignore[arg-type]
        mapping=run["mapping"],
        settings=split_settings(settings, nouns=("workload", "mapping")),
        mapping_flags=tuple(run["mapping_flags"]),
        shapes=read_shapes(shapes, workload=workload) if shapes else None,
        samples=SAMPLES_OF_FILE,
    )
    with progress() as report:
        result = compare(request, say=report.say)
    if as_json:
        print_json(result)
        return
    from taihusim.compare_table import print_comparison

    print_comparison(result)
