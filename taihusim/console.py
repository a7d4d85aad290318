"""What commands write: tables and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import click

PROGRESS_DELAY_SECONDS = 2.0
MARGIN = 3
"""Around a column of a framed table."""


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str | None = None,
    right: Collection[str] = (),
) -> None:
    """Print a table: framed by rich on a terminal, plain aligned text elsewhere.

    ``right`` names the columns to align on the right. None is printed as a dash.
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells, title=title, right=right)
        return
    if title is not None:
        click.echo(title)
    widths = [max(len(name), *(len(row[n]) for row in cells)) if cells else len(name) for n, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        parts = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object. Numbers that are not finite become null, as the format knows no others."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


@contextmanager
def progress() -> Iterator[Progress]:
    """Yields what reports on work while it goes on; nothing of it goes to standard output.

    A bar appears on standard error, only if that is a terminal and the work has taken over two seconds.
    """
    report = Progress()
    if not sys.stderr.isatty():
        yield report
        return
    opening = threading.Timer(PROGRESS_DELAY_SECONDS, report.open)
    opening.daemon = True
    opening.start()
    try:
        yield report
    finally:
        opening.cancel()
        opening.join()
        report.close()


class Progress:
    """A line that is always the latest, with a bar from the time it is opened, and lines that stay."""

    def __init__(self) -> None:
        self._last: tuple[str, float | None] = ("working", None)
        self._show: Callable[[str, float | None], None] | None = None
        self._note: Callable[[str], None] = partial(click.echo, err=True)
        self._stop: Callable[[], None] | None = None

    def say(self, text: str, share: float | None) -> None:
        """What is being done now, and the share of it that is done; None where the end is not known."""
        self._last = text, share
        if self._show is not None:
            self._show(text, share)

    def note(self, text: str) -> None:
        """A line that stays: a part that is finished."""
        self._note(text)

    def open(self) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn()
        bar = RichProgress(*columns, console=Console(stderr=True, highlight=False, soft_wrap=True), transient=True)
        task = bar.add_task("", total=None)

        def show(text: str, share: float | None) -> None:
            bar.update(task, description=text, total=None if share is None else 1.0, completed=share or 0.0)

        show(*self._last)
        bar.start()
        self._show, self._stop, self._note = show, bar.stop, bar.console.print

    def close(self) -> None:
        """Take the bar away."""
        if self._stop is not None:
            self._stop()


def _print_rich(
    columns: Sequence[str], cells: Sequence[Sequence[str]], *, title: str | None, right: Collection[str]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for number, shown in enumerate(_parts(columns, cells, width=console.width)):
        table = Table(title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        table.title = title if number == 0 else None
        for column in shown:
            table.add_column(columns[column], justify="right" if columns[column] in right else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(row[column]) for column in shown))  # Text: a source such as [derived] is no markup
        console.print(table)


def _parts(columns: Sequence[str], cells: Sequence[Sequence[str]], *, width: int) -> list[list[int]]:
    """The columns of each of the tables, one below the other, that fit a terminal; each begins with the first column.

    One table where all fits, or where a column is so long that its cells have to be folded anyway.
    """
    widths = [MARGIN + max(len(name), *(len(row[n]) for row in cells), 0) for n, name in enumerate(columns)]
    room = width - widths[0]
    if sum(widths) <= width or max(widths[1:], default=0) > room:
        return [list(range(len(columns)))]
    parts: list[list[int]] = []
    left = 0
    for column in range(1, len(columns)):
        if widths[column] > left:
            parts.append([0])
            left = room
        parts[-1].append(column)
        left -= widths[column]
    return parts


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
