"""A prediction as a planner reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from taihusim.console import print_table
from taihusim.inference_table import print_inference_table
from taihusim.share_kinds import KINDS, UNEQUAL, share_of
from workloads.words import energy_in_words, nodes_in_words, seconds_in_words, size_in_words

SHOWN: Final = 12
"""Parameters that are printed; the others have less effect."""
HEADS: Final[Mapping[str, str]] = {"inside the chip": "in chip", UNEQUAL: "unequal"}
"""What stands above the columns of kinds of shares with long names."""

Point = Mapping[str, Any]


def print_prediction(result: Mapping[str, Any]) -> None:
    """Tables of training and inference, and in words what holds each back and where scaling stops."""
    points, answers = result["points"], result["inference"]
    title = f"{result['workload']} on {result['machine']}, simulated time"
    if points:
        _print_training(points, title=f"training of {title}")
    if points and answers:
        click.echo()
    if answers:
        _print_inference(answers, title=f"inference of {title}")
    lines = [*_summary(result), *_learning(points, result["recipe_batch"])]
    if lines:
        click.echo()
    for line in lines:
        click.echo(line)
    if result.get("sensitivity"):
        click.echo()
        _print_sensitivity(result["sensitivity"])


def _print_sensitivity(rows: Sequence[Mapping[str, Any]]) -> None:
    """What relieves most, first."""
    columns = ("parameter", "value", "better by", *(nodes_in_words(each["nodes"]) for each in rows[0]["changes"]))
    shown = [
        (
            row["key"],
            row["value"],
            f"{100 * row['changed_by']:+.0f} %",
            *(f"{100 * each['change']:+.2f} %" for each in row["changes"]),
        )
        for row in rows[:SHOWN]
    ]
    print_table(columns, shown, title="change of the time of a step", right=columns[1:])
    hidden = len(rows) - SHOWN
    if hidden > 0:
        click.echo(f"{hidden} more parameters change it less (--json has them)")


def _print_training(points: Sequence[Point], *, title: str) -> None:
    kinds = [kind for kind in KINDS if kind != UNEQUAL or any(share_of(point, kind) for point in points)]
    columns = (
        *("nodes", "cores", "batch", "s/step", "90 % interval", "samples/s", "speed-up", "efficiency"),
        *(HEADS.get(kind, kind) for kind in kinds),
        *("epoch", "training", "energy"),
    )
    rows = [
        (
            f"{point['nodes']:,}",
            f"{point['cores']:,}",
            f"{point['global_batch']:,}",
            seconds_in_words(point["seconds_per_step"]),
            _interval(point),
            f"{point['samples_per_second']:,.0f}",
            None if point["speedup"] is None else f"{point['speedup']:,.{1 if point['speedup'] < 100 else 0}f}",
            None if point["efficiency"] is None else _percent(point["efficiency"]),
            *(_percent(share_of(point, kind)) for kind in kinds),
            None if point["seconds_per_epoch"] is None else _long(point["seconds_per_epoch"]),
            None if point["seconds_to_train"] is None else _long(point["seconds_to_train"]),
            None if point["energy_joules_to_train"] is None else energy_in_words(point["energy_joules_to_train"]),
        )
        for point in points
    ]
    print_table(columns, rows, title=title, right=columns)
    click.echo()
    for point in points:
        click.echo(f"{nodes_in_words(point['nodes'])}: {point['bottleneck']}")
    memory = points[0]["memory"]
    parts = ", ".join(f"{name.removesuffix('_bytes')} {size_in_words(size)}" for name, size in memory.items())
    whole = size_in_words(points[0]["memory_bytes_per_core_group"])
    click.echo(f"memory per {points[0]['compute_unit']} on {nodes_in_words(points[0]['nodes'])}: {whole} ({parts})")
    for reason, where in _reasons(points).items():
        click.echo(f"* extrapolated on {where}: {reason}")


def _interval(point: Point) -> str:
    star = "*" if point["extrapolated"] else ""
    if point["seconds_per_step_low"] is None:
        return f"unknown{star}"
    return (
        f"{seconds_in_words(point['seconds_per_step_low'])} to {seconds_in_words(point['seconds_per_step_high'])}{star}"
    )


def _reasons(points: Sequence[Point]) -> dict[str, str]:
    """Each reason for extrapolation, and at which node counts it holds."""
    found: dict[str, list[str]] = {}
    for point in points:
        for reason in point["extrapolated_because"]:
            found.setdefault(reason, []).append(f"{point['nodes']:,}")
    return {
        reason: "all" if len(nodes) == len(points) > 1 else f"{', '.join(nodes)} nodes"
        for reason, nodes in found.items()
    }


def _print_inference(points: Sequence[Point], *, title: str) -> None:
    print_inference_table(points, title=title)
    click.echo()
    for text, where in _same(points).items():
        click.echo(f"{where}: {text}")


def _same(points: Sequence[Point]) -> dict[str, str]:
    """Each bottleneck, and at which node counts it is."""
    found: dict[str, list[str]] = {}
    for point in points:
        found.setdefault(point["bottleneck"], []).append(f"{point['nodes']:,}")
    return {text: f"{', '.join(nodes)} node{'' if nodes == ['1'] else 's'}" for text, nodes in found.items()}


def _summary(result: Mapping[str, Any]) -> list[str]:
    """All of training, input against storage, where training stops to scale, and how inference compares."""
    points, answers = result["points"], result["inference"]
    lines = [*_whole(points), *_input(points)]
    if result["scaling"] is not None:
        lines.append(result["scaling"]["words"])
    if points and answers and points[-1]["speedup"] and answers[-1]["speedup"] and points[-1]["nodes"] > 1:
        trained, answered = (
            f"{each['speedup']:,.0f} times as fast as on one ({_percent(each['efficiency'])})"
            for each in (points[-1], answers[-1])
        )
        lines.append(
            f"on {nodes_in_words(points[-1]['nodes'])} training is {trained}, inference {answered}: "
            "nodes that answer add nothing up and wait for no others"
        )
    return lines


def _whole(points: Sequence[Point]) -> list[str]:
    """How much arithmetic the recipe is, and how long it takes on the fewest and the most nodes."""
    first, last = (points[0], points[-1]) if points else (None, None)
    if first is None or last is None or first["seconds_to_train"] is None or first["flops_to_train"] is None:
        return []
    samples = first["seconds_to_train"] * first["samples_per_second"]
    each = first["flops_to_train"] / samples
    line = (
        f"the whole training: {samples:,.0f} samples of {_flops(each)} each, forward and backward, are "
        f"{_flops(first['flops_to_train'])}: {_long(first['seconds_to_train'])} on {nodes_in_words(first['nodes'])}"
    )
    if last is not first:
        line += f", {_long(last['seconds_to_train'])} on {nodes_in_words(last['nodes'])}"
    return [line]


def _input(points: Sequence[Point]) -> list[str]:
    """What storage has to deliver on the most nodes, and where it no longer can."""
    reading = [point for point in points if point["input"]["needed_bytes_per_second"]]
    if not reading:
        return []
    short = [point for point in reading if point["input"]["limit"]]
    shown = [reading[-1]] if not short or short[0] is reading[-1] else [short[0], reading[-1]]
    lines = []
    for point in shown:
        needed, available = (point["input"][f"{name}_bytes_per_second"] for name in ("needed", "available"))
        limit = point["input"]["limit"]
        delivered = "" if available is None else f", {size_in_words(available)}/s available"
        lines.append(
            f"input on {nodes_in_words(point['nodes'])}: {size_in_words(needed)}/s needed{delivered}, "
            f"{f'too little: {limit}' if limit else 'enough'}"
        )
    return lines


def _flops(count: float) -> str:
    """Floating-point operations with a decimal unit."""
    for unit in ("Mflop", "Gflop", "Tflop", "Pflop"):
        count /= 1000 if unit != "Mflop" else 1e6
        if float(f"{count:.3g}") < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:,.3g} exaflop"


def _learning(points: Sequence[Point], recipe_batch: int | None) -> list[str]:
    """What is not predicted: whether steps of far more samples than the recipe's teach as much."""
    larger = [point["nodes"] for point in points if recipe_batch is not None and point["global_batch"] > recipe_batch]
    if not larger:
        return []
    return [
        f"from {nodes_in_words(min(larger))} on the global batch is larger than the recipe's {recipe_batch:,} samples: "
        "whether as many epochs suffice there is not predicted"
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _long(seconds: float) -> str:
    """A duration that may be of days or years."""
    days = seconds / 86400
    if days < 3:
        return seconds_in_words(seconds)
    return f"{days:,.3g} days" if days < 1000 else f"{days / 365.25:,.3g} years"
