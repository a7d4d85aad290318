"""The picture of a demonstration: how fast it learns on the left, how far it scales on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taihusim.canvas import DPI, PLAIN, new_figure, save_png, tidy
from taihusim.figure_scaling import draw_scaling, scaling_series, size_label
from workloads.record import RunRecord
from workloads.words import SHARES, measure_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (14.0, 6.3)


def save_figure(*, train: RunRecord, path: Path, infer: RunRecord | None = None) -> None:
    """Draw a training record, and an inference record beside it, into a PNG file.

    Raises ModuleNotFoundError saying what to install when matplotlib is missing; OSError as writing does.
    """
    figure = new_figure(SIZE_INCHES)
    left, right = figure.subplots(1, 2, width_ratios=(7, 5.4))
    figure.subplots_adjust(left=0.055, right=0.975, top=0.78, bottom=0.17, wspace=0.2)
    _draw_learning(left, train)
    draw_scaling(right, scaling_series(train=train, infer=infer))
    figure.suptitle(str(train.workload.get("title", train.result["workload"])), x=0.055, ha="left", fontsize=15)
    figure.text(0.055, 0.022, _caption(train), color=PLAIN, fontsize=9)
    save_png(figure, path)


def _draw_learning(axes: Axes, train: RunRecord) -> None:
    """What is measured on the test set against simulated time, one line for each number of nodes, labelled above."""
    from matplotlib import colormaps

    measure = next((run["measure"] for run in train.result["runs"] if run.get("measure")), "accuracy")
    runs = sorted(train.result["runs"], key=lambda run: int(run["nodes"]))
    shades = colormaps["viridis"]
    ends: list[tuple[float, float, str]] = []
    for number, run in enumerate(runs):
        values = [(p["seconds"], p.get("measured", p["accuracy"])) for p in run["curve"]]
        points = [(seconds, value) for seconds, value in values if seconds and value is not None]
        if not points:
            continue
        seconds, measured = zip(*points, strict=True)
        colour = shades(0.85 * (1 - number / max(1, len(runs) - 1)))
        axes.plot(seconds, measured, color=colour, linewidth=2.2)
        axes.plot(seconds[-1], measured[-1], color=colour, marker="X" if run["reached"] is False else "o", markersize=8)
        ends.append((seconds[-1], measured[-1], size_label(run["nodes"], run["cores"])))
    axes.set_xscale("log")
    if measure in SHARES:
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("simulated time in seconds")
    title = f"Learning: test {measure_name(measure)} against simulated time"
    axes.set_title(title, loc="left", fontsize=12, pad=58)
    recipe = train.workload.get("recipe") or {}
    target = recipe.get("until_measure") or recipe.get("until_accuracy")
    if target is not None:
        axes.axhline(target, color=PLAIN, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        below = axes.transAxes.transform((0, 0))[0] + 6
        axes.annotate(
            f"target {100 * target:g} %" if measure in SHARES else f"target {target:g}",
            (axes.transData.inverted().transform((below, 0))[0], target),
            xytext=(0, -4),
            textcoords="offset points",
            va="top",
            color=PLAIN,
            fontsize=9,
        )
    tidy(axes)
    _label_above(axes, ends)


def _label_above(axes: Axes, ends: Sequence[tuple[float, float, str]]) -> None:
    """Labels in one row above the axes, in the order of the ends they belong to and joined to them by thin lines."""
    ends = sorted(ends)
    box = axes.get_window_extent()
    pixels = [float(axes.transData.transform((x, y))[0]) for x, y, _ in ends]
    font = 9.0 if len(ends) <= 5 else 9.0 * 5 / len(ends)
    width = min(DPI * 1.13 * font / 9, box.width / max(1, len(ends)))
    centres = spread(pixels, gap=width, low=box.x0 + width / 2, high=box.x1 - width / 2)
    for (x, y, label), centre in zip(ends, centres, strict=True):
        axes.annotate(
            label,
            (x, y),
            xytext=((centre - box.x0) / box.width, 1.035),
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize=font,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0.5, 0.0),
                "color": PLAIN,
                "linewidth": 0.7,
                "shrinkA": 0,
                "shrinkB": 5,
            },
            annotation_clip=False,
        )


def spread(places: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Ascending ``places`` moved apart to at least ``gap`` within ``low`` to ``high``, by as little as may be.

    Where they do not all fit they keep ``gap`` and leave ``high`` behind.
    """
    # neighbours that are too close are pooled: a pool is centred on the mean of the places wanted by its members
    pools: list[tuple[float, int]] = []
    for number, place in enumerate(places):
        mean, members = place - number * gap, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean = (mean * members + other * others) / (members + others)
            members += others
        pools.append((mean, members))
    starts = [mean for mean, members in pools for _ in range(members)]
    last = max(low, high - gap * (len(places) - 1))
    return [min(max(start, low), last) + number * gap for number, start in enumerate(starts)]


def _caption(train: RunRecord) -> str:
    """What was run, on what, how."""
    mapping: Mapping[str, Any] = train.mapping
    machine = train.machine.get("title", train.result["machine"])
    how = [f"{str(mapping[key]).replace('_', '-')}" for key in ("collective", "library", "precision") if key in mapping]
    parts = [f"simulated on {machine}", *how, f"seed {train.seed}", f"taihusim {train.version}"]
    return " · ".join(parts) + ".  Round end: target reached; cross: not reached."
