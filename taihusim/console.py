"""What commands write: tables and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

PROGRESS_DELAY_SECONDS = 2.0


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
def progress(total: int, *, label: str) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of steps just done.

    A bar appears on standard error, only if that is a terminal and the work has taken over two seconds.
    """
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    bar = _Bar(total=total, label=label)
    try:
        yield bar.advance
    finally:
        bar.close()


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Yields a function that says on one line how far some work is whose end is not known.

    The line appears on standard error, only if that is a terminal and the work has taken over two seconds.
    """
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    line = _Status()
    try:
        yield line.say
    finally:
        line.close()


class _Status:
    """A spinner with a line of text that starts late."""

    def __init__(self) -> None:
        self._host_start = time.monotonic()
        self._update: Callable[[str], None] | None = None
        self._stop: Callable[[], None] | None = None

    def say(self, text: str) -> None:
        if self._update is None and time.monotonic() - self._host_start > PROGRESS_DELAY_SECONDS:
            self._open(text)
        if self._update is not None:
            self._update(text)

    def close(self) -> None:
        if self._stop is not None:
            self._stop()

    def _open(self, text: str) -> None:
        from rich.console import Console

        spinner = Console(stderr=True).status(text)
        spinner.start()
        self._update = spinner.update
        self._stop = spinner.stop


class _Bar:
    """A rich progress bar that starts late."""

    def __init__(self, *, total: int, label: str) -> None:
        self._total = total
        self._label = label
        self._done = 0
        self._host_start = time.monotonic()
        self._show: Callable[[int], None] | None = None
        self._stop: Callable[[], None] | None = None

    def advance(self, steps: int) -> None:
        self._done += steps
        if self._show is None and time.monotonic() - self._host_start > PROGRESS_DELAY_SECONDS:
            self._open()
        if self._show is not None:
            self._show(self._done)

    def close(self) -> None:
        if self._stop is not None:
            self._stop()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True), transient=True)
        task = bar.add_task(self._label, total=self._total)
        bar.start()
        self._show = lambda done: bar.update(task, completed=done)
        self._stop = bar.stop


def _print_rich(
    columns: Sequence[str], cells: Sequence[Sequence[str]], *, title: str | None, right: Collection[str]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))  # Text: a source such as [derived] is no markup
    Console().print(table)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
