"""Errors as text."""

from __future__ import annotations

from taihusim.validation.report import TableReport


def error_in_words(value: float | None, report: TableReport, *, sign: bool = False) -> str | None:
    """``3.2 %``, or ``3.2 points`` where errors are percentage points; None stays None."""
    if value is None:
        return None
    points = report.unit_of_error == "percentage points"
    number = value if points else 100 * value
    return f"{number:{'+' if sign else ''}.1f} {'points' if points else '%'}"
