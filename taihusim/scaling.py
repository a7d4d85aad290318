"""Where more nodes stop to help, and why; and what training asks for as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from workloads.words import nodes_in_words, number_in_words

WORTH: Final = 0.5
"""Scaling has stopped where further nodes bring less than this of what they would if all were well."""

WAITING: Final = ("communication_exposed", "pipeline_bubble", "input", "jitter")
"""Shares of a step in which a node does nothing of its own."""

Point = Mapping[str, Any]


def scaling(points: Sequence[Point]) -> dict[str, Any] | None:
    """The most nodes up to which training scales, None if that is all of them, and in words; None for a single point.

    It stops where further nodes bring less than half of what they would if all were well.
    """
    ordered = sorted({point["nodes"]: point for point in points}.values(), key=lambda point: int(point["nodes"]))
    for before, after in pairwise(ordered):
        more = after["nodes"] / before["nodes"]
        gain = after["samples_per_second"] / before["samples_per_second"]
        if gain - 1 < WORTH * (more - 1):
            words = (
                f"training stops scaling beyond {nodes_in_words(before['nodes'])}: "
                f"{number_in_words(more, digits=3)} times the nodes bring {number_in_words(gain, digits=3)} times the "
                f"samples per second; what is in the way is {_reason(before, after)}"
            )
            return {"stops_beyond_nodes": before["nodes"], "words": words}
    if len(ordered) < 2:
        return None
    return {"stops_beyond_nodes": None, "words": "training scales over all of these nodes"}


def _reason(before: Point, after: Point) -> str:
    """What keeps the nodes of ``after`` from doing their part of what those of ``before`` did in as much less time."""
    many, few = (point["global_batch"] / point["nodes"] for point in (before, after))
    lost = after["seconds_per_step"] - before["seconds_per_step"] * few / many
    slower = _own_seconds(after) / few / (_own_seconds(before) / many)
    if few < many and (slower - 1) * _own_seconds(before) * few / many > lost / 2:
        return (
            f"the batch: a node takes {number_in_words(slower, digits=3)} times as long for a sample "
            f"if it has {number_in_words(few)} instead of {number_in_words(many)}"
        )
    return str(after["bottleneck"])


def _own_seconds(point: Point) -> float:
    waiting: float = sum(point["shares"].get(name, 0.0) for name in WAITING)
    return float(point["seconds_per_step"]) * (1 - waiting)
