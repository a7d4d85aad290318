"""Machines side by side as a planner reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from taihusim.console import print_table
from workloads.words import nodes_in_words, number_in_words, seconds_in_words, size_in_words


def print_comparison(result: Mapping[str, Any]) -> None:
    """A table with a row for each number of nodes and machine, then in words what holds each back."""
    machines = result["machines"]
    training = result["target"] == "training"
    columns = (
        *("nodes", "machine", "processor", "samples/s", f"to {machines[0]['machine']}"),
        *("s/step" if training else "s/batch", "efficiency", "share of peak", "J/sample", "power", "memory"),
    )
    rows, words = [], []
    for number, nodes in enumerate(result["nodes"]):
        for each in machines:
            point = each["points"][number]
            rows.append(
                (
                    f"{nodes:,}",
                    each["machine"],
                    each["processor"],
                    number_in_words(point["samples_per_second"]),
                    f"{number_in_words(point['relative_samples_per_second'], digits=3)} x",
                    seconds_in_words(point["seconds_per_step"]),
                    None if point["efficiency"] is None else _percent(point["efficiency"]),
                    _percent(point["peak_fraction"]),
                    number_in_words(point["energy_joules_per_sample"], digits=3),
                    _watts(point["watts"]),
                    f"{size_in_words(point['memory_bytes_per_unit'])}, {_percent(point['memory_fraction'])}",
                )
            )
            words.append(f"{each['machine']}, {nodes_in_words(nodes)}: {point['bottleneck']}")
    title = f"{result['target']} of {result['workload']} in {result['precision']}, simulated time"
    print_table(columns, rows, title=title, right=(columns[0], *columns[3:]))
    click.echo()
    for line in words:
        click.echo(line)
    click.echo("memory: of a core group or a device")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _watts(watts: float) -> str:
    from sim.machine.quantity import POWER, Quantity

    return Quantity(dimension=POWER).round(watts)
