"""How far a run scales: the speed-up of inference, of training and of learning over the fewest nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taihusim.canvas import DPI, PLAIN, tidy
from workloads.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# colours that people with the usual kinds of colour blindness tell apart (Okabe and Ito)
STYLES: Final = {"inference": ("#0072B2", "o"), "training": ("#D55E00", "s"), "learning": ("#117733", "D")}
WORDS: Final = {
    "inference": "inference: {}× the samples per second",
    "training": "training: {}× the samples per second",
    "learning": "learning: {}× as fast to the target",
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """Something that should grow with the cores, by number of cores, ascending."""

    name: str
    cores: tuple[int, ...]
    nodes: tuple[int, ...]
    rates: tuple[float, ...]

    @property
    def speedups(self) -> tuple[float, ...]:
        """Against the fewest cores."""
        return tuple(rate / self.rates[0] for rate in self.rates)

    def in_words(self) -> str:
        """What the most cores bring."""
        what = WORDS[self.name]
        last = self.speedups[-1]
        return what.format(f"{last:,.0f}" if last >= 100 else f"{last:.2g}")


def scaling_series(*, train: RunRecord, infer: RunRecord | None) -> list[Series]:
    """Samples per second of inference and training, and runs to the target per second, as far as they are known."""
    points = [] if infer is None else infer.result["points"]
    runs = train.result["runs"]
    found = (
        _series("inference", [(p["cores"], p["nodes"], p["samples_per_second"]) for p in points]),
        _series("training", [(r["cores"], r["nodes"], _ratio(r["global_batch"], r["seconds_per_step"])) for r in runs]),
        _series("learning", [(r["cores"], r["nodes"], _ratio(1, r["seconds_to_target"])) for r in runs]),
    )
    return [each for each in found if each is not None]


def draw_scaling(axes: Axes, series: Sequence[Series]) -> None:
    """Speed-up against cores, with the line it would follow if cores were all that counts."""
    for each in series:
        colour, marker = STYLES[each.name]
        axes.plot(each.cores, each.speedups, color=colour, linewidth=2.2, marker=marker, markersize=7)
    longest = max(series, key=lambda each: each.cores[-1] / each.cores[0], default=None)
    if longest is not None and len(longest.cores) > 1:
        ideal = [cores / longest.cores[0] for cores in longest.cores]
        axes.plot(longest.cores, ideal, color=PLAIN, linewidth=1.2, linestyle=(0, (2, 3)), zorder=5)
        axes.annotate(
            "ideal",
            (longest.cores[-1], ideal[-1]),
            xytext=(-12, 2),
            textcoords="offset points",
            ha="right",
            color=PLAIN,
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("cores")
    few = min((each.nodes[0] for each in series), default=1)
    base = "1 node" if few == 1 else f"{few:,} nodes"
    axes.set_title(f"Scaling: how many times as fast as {base}", loc="left", fontsize=12, pad=58)
    tidy(axes)
    _core_ticks(axes, series)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.3g}×" if value < 1000 else f"{value:,.0f}×")
    for number, each in enumerate(series):
        place = 1.14 - 0.055 * number
        axes.text(0.0, place, each.in_words(), transform=axes.transAxes, color=STYLES[each.name][0], fontsize=10)


def size_label(nodes: int, cores: int) -> str:
    """Nodes and cores in two lines."""
    return f"{nodes:,} {'node' if nodes == 1 else 'nodes'}\n{cores:,} cores"


def _core_ticks(axes: Axes, series: Sequence[Series]) -> None:
    """A tick at each number of cores there is, as far as their labels do not touch."""
    labels = {
        cores: size_label(nodes, cores) for each in series for cores, nodes in zip(each.cores, each.nodes, strict=True)
    }
    if not labels:
        return
    needed = DPI * 0.95 / axes.get_window_extent().width
    shown: list[int] = []
    for cores in sorted(labels, reverse=True):
        if not shown or _fraction(axes, shown[-1]) - _fraction(axes, cores) >= needed:
            shown.append(cores)
    axes.set_xticks(shown, [labels[cores] for cores in shown])
    axes.set_xticks([], minor=True)
    axes.tick_params(axis="x", labelsize=8)


def _fraction(axes: Axes, cores: float) -> float:
    """Where a number of cores lies along the axis, 0 at its left end and 1 at its right end."""
    point = axes.transData.transform((cores, 1.0))
    return float(axes.transAxes.inverted().transform(point)[0])


def _series(name: str, points: Sequence[tuple[int, int, float | None]]) -> Series | None:
    known = sorted((cores, nodes, rate) for cores, nodes, rate in points if rate)
    if not known:
        return None
    cores, nodes, rates = zip(*known, strict=True)
    return Series(name=name, cores=cores, nodes=nodes, rates=rates)


def _ratio(amount: float, seconds: float | None) -> float | None:
    return amount / seconds if seconds else None
