"""Tables of published measurements: CSV files with comment lines first, then a header, then rows."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sim.problems import BadInput, Problem, nearest

SHIPPED: Final = Path(__file__).parent / "tables"
VALUE: Final = "value"
RESULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "swdnn_conv_fp64_4cg": ("gflops_4cg", "seconds_100_runs", "dma_get_gbs_one_cg"),
}
"""Columns that are measurements in tables without a column ``value``; the first is the one to predict."""
UNITS: Final[Mapping[str, str]] = {"swdnn_conv_fp64_4cg": "GFLOPS"}
"""Units of tables without a column ``unit``."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement. ``inputs`` holds what was measured, never a result; ``line`` is its line in the file."""

    line: int
    inputs: Mapping[str, str]
    measured: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one file; ``comments`` say where they come from."""

    name: str
    comments: tuple[str, ...]
    rows: tuple[Row, ...]


def read_tables(folder: Path | None = None, *, names: Sequence[str] = ()) -> list[Table]:
    """The tables of ``folder`` (default: those that come with taihusim), by name; only ``names`` if any are given.

    Raises BadInput if there is no such folder or table, or if a file is no table.
    """
    place = SHIPPED if folder is None else folder
    if not place.is_dir():
        raise BadInput([Problem(file=str(place), key="", value=None, expected="a folder with tables (*.csv)")])
    files = {path.stem: path for path in sorted(place.glob("*.csv"))}
    if not files:
        raise BadInput([Problem(file=str(place), key="", value=None, expected="tables (*.csv), found none")])
    unknown = [name for name in names if name not in files]
    if unknown:
        raise BadInput(
            Problem(
                file=f"--table {name}",
                key="",
                value=name,
                expected=f"a table of {place}" if folder is not None else "a table",
                nearest=nearest(name, files),
            )
            for name in unknown
        )
    problems: list[Problem] = []
    tables = []
    for name in names or files:
        try:
            tables.append(read_table(files[name]))
        except BadInput as bad:
            problems.extend(bad.problems)
    if problems:
        raise BadInput(problems)
    return tables


def read_table(path: Path) -> Table:
    """The table in ``path``. Raises BadInput with every line that is not as it should be."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput([Problem(file=str(path), key="", value=str(error), expected="a readable CSV file")]) from error
    begin = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    reader = csv.reader(lines[begin:], strict=True)
    results = RESULTS.get(path.stem, (VALUE,))
    problems: list[Problem] = []
    rows: list[Row] = []
    header: list[str] = []

    def wrong(expected: str, *, key: str = "", value: object = None) -> None:
        problems.append(
            Problem(file=str(path), key=key, value=value, expected=expected, line=begin + max(1, reader.line_num))
        )

    try:
        header = next(reader, [])
        for column in (*results, *(() if path.stem in UNITS else ("unit",))):
            if column not in header:
                wrong(f"a column {column!r} in the header")
        for cells in [] if problems else reader:
            if not cells:
                continue
            if len(cells) != len(header):
                wrong(f"{len(header)} cells as in the header", value=f"{len(cells)} cells")
                continue
            row = dict(zip(header, cells, strict=True))
            text = row[results[0]]
            measured = _number(text)
            if measured is None:
                wrong("a number", key=results[0], value=text)
                continue
            unit = UNITS.get(path.stem) or row["unit"]
            inputs = {column: cell for column, cell in row.items() if column not in results}
            rows.append(Row(line=begin + reader.line_num, inputs=inputs, measured=measured, unit=unit))
    except csv.Error as error:
        wrong("a well-formed CSV line", value=str(error))
    if problems:
        raise BadInput(problems)
    return Table(name=path.stem, comments=tuple(line.lstrip("# ") for line in lines[:begin]), rows=tuple(rows))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
