"""A table's predictions against its measurements, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from taihusim.canvas import PLAIN, new_figure, save_png, tidy
from taihusim.validation.report import Comparison, TableReport

GROUPED_BY: Final = ("what", "mode", "series", "run", "net", "stride", "library")
"""Columns whose values may tell points apart by colour; the first with two to eight values is taken."""
COLOURS: Final = ("#0072B2", "#D55E00", "#117733", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
SIZE_INCHES: Final = (6.4, 6.2)


def save_scatter(report: TableReport, path: Path) -> None:
    """Draw the covered rows of a table into a PNG file, with lines at 10 % above and below.

    Raises ModuleNotFoundError saying what to install when matplotlib is missing; OSError as writing does.
    """
    figure = new_figure(SIZE_INCHES)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.13, right=0.97, top=0.87, bottom=0.1)
    for number, (label, points) in enumerate(_groups(report).items()):
        axes.scatter(
            [each.row.measured for each in points],
            [each.predicted for each in points],
            s=16,
            color=COLOURS[number % len(COLOURS)],
            alpha=0.7,
            linewidths=0,
            label=label or None,
        )
    values = [value for each in report.compared for value in (each.row.measured, each.predicted)]
    low, high = min(values), max(values)
    if low > 0:
        axes.set_xscale("log")
        axes.set_yscale("log")
        ends = (low / 1.15, high * 1.15)
        for factor in (0.9, 1.1):
            axes.plot(ends, [factor * end for end in ends], color=PLAIN, linewidth=0.7, linestyle=(0, (2, 3)))
    else:
        margin = 0.05 * (high - low or 1)
        ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=PLAIN, linewidth=0.9)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    units = sorted({each.row.unit for each in report.compared})
    axes.set_xlabel(f"measured, {', '.join(units)}")
    axes.set_ylabel(f"predicted, {', '.join(units)}")
    tidy(axes)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(report.name, x=0.13, ha="left", fontsize=13)
    figure.text(0.13, 0.895, _caption(report), fontsize=9, color=PLAIN)
    save_png(figure, path)


def _groups(report: TableReport) -> dict[str, list[Comparison]]:
    """The rows by the value of the first column that tells a few kinds apart."""
    inputs = [each.row.inputs for each in report.compared]
    for column in GROUPED_BY:
        kinds = {row.get(column, "") for row in inputs}
        if 2 <= len(kinds) <= len(COLOURS):
            groups: dict[str, list[Comparison]] = {kind: [] for kind in sorted(kinds)}
            for each in report.compared:
                groups[each.row.inputs.get(column, "")].append(each)
            return groups
    return {"": list(report.compared)}


def _caption(report: TableReport) -> str:
    from taihusim.validation.words import error_in_words

    mean, most = (error_in_words(value, report) for value in (report.mean_abs_error, report.max_abs_error))
    return f"{len(report.compared)} of {report.rows} rows, mean error {mean}, largest {most}; dotted: ±10 %"
