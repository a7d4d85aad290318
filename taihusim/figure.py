"""The picture of a demonstration: how fast it learns on the left, how far it scales on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.files import replaced
from workloads.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (14.0, 6.3)
DPI = 110
# colours that people with the usual kinds of colour blindness tell apart (Okabe and Ito)
INFERENCE, TRAINING, PLAIN = "#0072B2", "#D55E00", "#555555"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Samples per second by number of cores, ascending."""

    name: str
    cores: tuple[int, ...]
    nodes: tuple[int, ...]
    rates: tuple[float, ...]

    @property
    def share_of_ideal(self) -> float:
        """The rate at the most cores as a share of what the fewest cores promise."""
        return self.rates[-1] / self.rates[0] * self.cores[0] / self.cores[-1]


def save_figure(*, train: RunRecord, path: Path, infer: RunRecord | None = None) -> None:
    """Draw a training record, and an inference record beside it, into a PNG file.

    Raises ModuleNotFoundError saying what to install when matplotlib is missing; OSError as writing does.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        text = "figures are drawn with matplotlib: install it with `pip install 'taihusim[plot]'`"
        raise ModuleNotFoundError(text, name=error.name) from error
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI)
    FigureCanvasAgg(figure)  # draws without a window
    left, right = figure.subplots(1, 2, width_ratios=(7, 5.4))
    figure.subplots_adjust(left=0.055, right=0.975, top=0.78, bottom=0.17, wspace=0.2)
    _draw_learning(left, train)
    _draw_scaling(right, [each for each in (_inference(infer), _training(train)) if each is not None])
    figure.suptitle(str(train.workload.get("title", train.result["workload"])), x=0.055, ha="left", fontsize=15)
    figure.text(0.055, 0.022, _caption(train), color=PLAIN, fontsize=9)
    with replaced(path) as file:
        figure.savefig(file, format="png")


def _draw_learning(axes: Axes, train: RunRecord) -> None:
    """Test accuracy against simulated time, one line for each number of nodes, labelled above its end."""
    from matplotlib import colormaps

    runs = sorted(train.result["runs"], key=lambda run: int(run["nodes"]))
    shades = colormaps["viridis"]
    ends: list[tuple[float, float, str]] = []
    for number, run in enumerate(runs):
        points = [(p["seconds"], p["accuracy"]) for p in run["curve"] if p["seconds"] and p["accuracy"] is not None]
        if not points:
            continue
        seconds, accuracies = zip(*points, strict=True)
        colour = shades(0.85 * (1 - number / max(1, len(runs) - 1)))
        axes.plot(seconds, accuracies, color=colour, linewidth=2.2)
        axes.plot(
            seconds[-1], accuracies[-1], color=colour, marker="X" if run["reached"] is False else "o", markersize=8
        )
        ends.append((seconds[-1], accuracies[-1], _size(run["nodes"], run["cores"])))
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("simulated time in seconds")
    axes.set_title("Learning: test accuracy against simulated time", loc="left", fontsize=12, pad=45)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    target = (train.workload.get("recipe") or {}).get("until_accuracy")
    if target is not None:
        axes.axhline(target, color=PLAIN, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        below = axes.transAxes.transform((0, 0))[0] + 6
        axes.annotate(
            f"target {100 * target:g} %",
            (axes.transData.inverted().transform((below, 0))[0], target),
            xytext=(0, -4),
            textcoords="offset points",
            va="top",
            color=PLAIN,
            fontsize=9,
        )
    _tidy(axes)
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


def _draw_scaling(axes: Axes, series: Sequence[Series]) -> None:
    """Samples per second against cores, each series with the line it would follow if cores were all that counts."""
    for each in series:
        colour = _colour(each)
        ideal = [each.rates[0] * cores / each.cores[0] for cores in each.cores]
        axes.plot(each.cores, ideal, color=colour, linewidth=1.1, linestyle=(0, (2, 3)), zorder=1)
        marker = "o" if each.name == "inference" else "s"
        axes.plot(each.cores, each.rates, color=colour, linewidth=2.2, marker=marker, markersize=7, label=each.name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("cores")
    axes.set_title("Scaling: samples per second", loc="left", fontsize=12, pad=45)
    _tidy(axes)
    _core_ticks(axes, series)
    for number, each in enumerate(series):
        axes.text(
            0.0,
            1.09 - 0.055 * number,
            _in_words(each),
            transform=axes.transAxes,
            color=_colour(each),
            fontsize=10,
        )
    long = [each for each in series if len(each.cores) > 1]
    if long:
        last = max(long, key=lambda each: each.rates[0] / each.cores[0])
        axes.annotate(
            "ideal",
            (last.cores[-1], last.rates[0] * last.cores[-1] / last.cores[0]),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=_colour(last),
            fontsize=9,
        )


def _core_ticks(axes: Axes, series: Sequence[Series]) -> None:
    """A tick at each number of cores there is, as far as their labels do not touch."""
    labels = {
        cores: _size(nodes, cores) for each in series for cores, nodes in zip(each.cores, each.nodes, strict=True)
    }
    if not labels:
        return
    places = sorted(labels, reverse=True)
    box = axes.get_window_extent()
    needed = DPI * 0.95 / box.width
    shown: list[int] = []
    for cores in places:
        if not shown or _fraction(axes, shown[-1]) - _fraction(axes, cores) >= needed:
            shown.append(cores)
    axes.set_xticks(shown, [labels[cores] for cores in shown])
    axes.set_xticks([], minor=True)
    axes.tick_params(axis="x", labelsize=8)


def _fraction(axes: Axes, cores: float) -> float:
    """Where a number of cores lies along the axis, 0 at its left end and 1 at its right end."""
    point = axes.transData.transform((cores, 1.0))
    return float(axes.transAxes.inverted().transform(point)[0])


def _training(record: RunRecord) -> Series | None:
    return _series(
        "training",
        [
            (run["cores"], run["nodes"], run["global_batch"] / run["seconds_per_step"])
            for run in record.result["runs"]
            if run["seconds_per_step"]
        ],
    )


def _inference(record: RunRecord | None) -> Series | None:
    if record is None:
        return None
    points = record.result["points"]
    return _series("inference", [(p["cores"], p["nodes"], p["samples_per_second"]) for p in points])


def _series(name: str, points: Sequence[tuple[int, int, float | None]]) -> Series | None:
    known = sorted((cores, nodes, rate) for cores, nodes, rate in points if rate)
    if not known:
        return None
    cores, nodes, rates = zip(*known, strict=True)
    return Series(name=name, cores=cores, nodes=nodes, rates=rates)


def _in_words(series: Series) -> str:
    place = _size(series.nodes[-1], series.cores[-1]).replace("\n", ", ")
    if len(series.cores) == 1:
        return f"{series.name}: {series.rates[0]:,.0f} samples per second on {place}"
    share = 100 * series.share_of_ideal
    digits = ".0f" if share >= 1 else ".1g"
    return f"{series.name}: {share:{digits}} % of ideal on {place}"


def _colour(series: Series) -> str:
    return INFERENCE if series.name == "inference" else TRAINING


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)


def _size(nodes: int, cores: int) -> str:
    return f"{nodes:,} {'node' if nodes == 1 else 'nodes'}\n{cores:,} cores"


def _caption(train: RunRecord) -> str:
    """What was run, on what, how."""
    mapping: Mapping[str, Any] = train.mapping
    machine = train.machine.get("title", train.result["machine"])
    how = [f"{str(mapping[key]).replace('_', '-')}" for key in ("collective", "library", "precision") if key in mapping]
    parts = [f"simulated on {machine}", *how, f"seed {train.seed}", f"taihusim {train.version}"]
    return " · ".join(parts) + ".  Round end: target reached; cross: not reached.  Dotted: ideal scaling."
