"""``taihusim validate``: predict published measurements, show how far off the predictions are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taihusim.console import print_json, print_table, progress
from taihusim.options import json_option

if TYPE_CHECKING:
    from taihusim.validation.report import TableReport


@click.command(name="validate")
@click.option("--tables", type=click.Path(path_type=Path), help="Folder of tables.  [default: those of taihusim]")
@click.option("--table", "names", multiple=True, metavar="NAME", help="Only this table. May be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report and a scatter plot per table.")
@click.option(
    "--residuals",
    type=click.Path(path_type=Path),
    help="File for the errors by part, as intervals of predictions need.",
)
@json_option
def command(
    tables: Path | None, names: tuple[str, ...], out: Path | None, residuals: Path | None, as_json: bool
) -> None:
    """Predict published measurements and compare.

    Every row is predicted from its conditions alone, without its value. Errors are fractions of the measured value,
    or percentage points where that is itself a share. Rows that cannot be predicted are listed with the reason; rows
    of which 0 was measured are left out and counted.

    Examples:

    \b
      taihusim validate
      taihusim validate --table dma_grid --out runs/validation
    """
    from sim.machine.load import load_machine
    from taihusim.places import check_file, check_folder
    from taihusim.validation.predictors import PREDICTORS
    from taihusim.validation.report import compare
    from taihusim.validation.table import read_tables

    found = read_tables(tables, names=names)
    check_folder(out)
    check_file(residuals, option="--residuals")
    machine = load_machine("sunway_taihulight")
    total = sum(len(table.rows) for table in found)
    reports = []
    before = 0
    with progress() as report:
        for table in found:

            def say(done: int, name: str = table.name, before: int = before) -> None:
                report.say(f"{name}: row {done}", (before + done) / max(1, total))

            reports.append(compare(table, machine=machine, predictors=PREDICTORS, say=say))
            before += len(table.rows)
    result = {"tables": [each.as_json() for each in reports]}
    written = [] if out is None else _save(result, reports, out)
    if residuals is not None:
        written.append(_save_residuals(reports, residuals))
    if as_json:
        print_json(result)
        return
    _print(reports)
    for path in written:
        click.echo(f"wrote {path}")


def _print(reports: Sequence[TableReport]) -> None:
    from taihusim.validation.words import error_in_words

    columns = ("table", "rows", "covered", "mean", "median", "95 %", "max", "bias")
    rows = [
        (
            each.name,
            each.rows,
            len(each.compared),
            error_in_words(each.mean_abs_error, each),
            error_in_words(each.median_abs_error, each),
            error_in_words(each.p95_abs_error, each),
            error_in_words(each.max_abs_error, each),
            error_in_words(each.bias, each, sign=True),
        )
        for each in reports
    ]
    print_table(columns, rows, title="errors of predictions against published measurements", right=columns[1:])
    click.echo()
    for each in reports:
        of_subset = each.of_subset
        if each.subset is not None and of_subset is not None:
            mean, largest = (
                error_in_words(value, each) for value in (of_subset.mean_abs_error, of_subset.max_abs_error)
            )
            click.echo(
                f"{each.name}: accepted over {each.subset.words}: {len(of_subset.compared)} of "
                f"{_rows(of_subset.rows)} covered, mean {mean}, max {largest}; the whole table above"
            )
        for name, group in each.groups:
            mean, bias = error_in_words(group.mean_abs_error, each), error_in_words(group.bias, each, sign=True)
            click.echo(
                f"{each.name}: {name}: {len(group.compared)} of {_rows(group.rows)} covered, mean {mean}, bias {bias}"
            )
        for reason, count in Counter(reason for _, reason in each.uncovered).most_common():
            click.echo(f"{each.name}: {_rows(count)} not covered: {reason}")
        if each.excluded:
            click.echo(f"{each.name}: {_rows(each.excluded)} left out: 0 was measured")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _save_residuals(reports: Sequence[TableReport], path: Path) -> Path:
    import json

    from taihusim.validation.residuals import residual_data
    from workloads.files import replaced

    with replaced(path) as file:
        file.write((json.dumps(residual_data(reports), indent=2, allow_nan=False) + "\n").encode())
    return path


def _save(result: Mapping[str, object], reports: Sequence[TableReport], out: Path) -> list[Path]:
    import json

    from taihusim.validation.scatter import save_scatter
    from workloads.files import replaced

    out.mkdir(parents=True, exist_ok=True)
    written = [out / "validate.json"]
    with replaced(written[0]) as file:
        file.write((json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
    for each in reports:
        if each.compared:
            written.append(out / f"{each.name}.png")
            save_scatter(each, written[-1])
    return written
