"""The picture of a prediction: how training and inference scale, and where the time of a training step goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taihusim.canvas import new_figure, save_png, tidy
from taihusim.figure_scaling import Series, draw_scaling, size_label
from taihusim.share_kinds import UNEQUAL, share_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES: Final = (14.0, 6.0)
COLOURS: Final[Mapping[str, str]] = {
    "compute": "#009E73",
    "memory": "#0072B2",
    "inside the chip": "#56B4E9",
    "network": "#D55E00",
    "input": "#E69F00",
    UNEQUAL: "#CC79A7",
}
"""For each kind of share one that people with the usual kinds of colour blindness tell apart (Okabe and Ito)."""


def save_prediction(result: Mapping[str, Any], path: Path) -> None:
    """Draw the result of ``taihusim predict`` into a PNG file.

    Raises ModuleNotFoundError saying what to install when matplotlib is missing; OSError as writing does.
    """
    figure = new_figure(SIZE_INCHES)
    left, right = figure.subplots(1, 2, width_ratios=(5.4, 7))
    figure.subplots_adjust(left=0.06, right=0.87, top=0.76, bottom=0.16, wspace=0.2)
    draw_scaling(left, [*_series("inference", result["inference"]), *_series("training", result["points"])])
    _draw_shares(right, sorted(result["points"], key=lambda point: int(point["nodes"])))
    figure.suptitle(f"{result['workload']} on {result['machine']}, predicted", x=0.06, ha="left", fontsize=15)
    save_png(figure, path)


def _series(name: str, points: Sequence[Mapping[str, Any]]) -> list[Series]:
    """Samples per second by number of cores; none without points."""
    known = sorted({(point["cores"], point["nodes"], point["samples_per_second"]) for point in points})
    if not known:
        return []
    cores, nodes, rates = zip(*known, strict=True)
    return [Series(name=name, cores=cores, nodes=nodes, rates=rates)]


def _draw_shares(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """A bar for each number of nodes."""
    places = range(len(points))
    bottom = [0.0] * len(points)
    for kind, colour in COLOURS.items():
        heights = [share_of(point, kind) for point in points]
        if any(heights):
            axes.bar(places, heights, bottom=bottom, color=colour, width=0.7, label=kind)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xticks(list(places), [size_label(point["nodes"], point["cores"]) for point in points], fontsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_title("Where the time of a training step goes", loc="left", fontsize=12, pad=58)
    tidy(axes)
    if points:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, reverse=True)
