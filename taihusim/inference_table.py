"""How inference does by node count, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taihusim.console import print_table
from workloads.words import seconds_in_words


def print_inference_table(points: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """A row for each point of ``taihusim infer`` or of the inference of ``taihusim predict``."""
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
        for point in points
    ]
    print_table(columns, rows, title=title, right=columns)
