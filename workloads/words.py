"""Numbers as people read them."""

from __future__ import annotations


def size_in_words(size: float) -> str:
    """Bytes with a decimal unit, three digits: ``437 KB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if float(f"{size:.3g}") < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{_three_digits(size)} TB"


def memory_in_words(size: int) -> str:
    """Bytes to be read, and to the byte, as they may differ by few: ``8.59 GB (8,589,934,592 B)``."""
    return f"{size_in_words(size)} ({size:,} B)"


def seconds_in_words(seconds: float | None) -> str:
    """A duration with a fitting unit, three digits: ``1.23 ms``."""
    if seconds is None:
        return "-"
    for unit in ("ns", "us", "ms"):
        value = seconds * {"ns": 1e9, "us": 1e6, "ms": 1e3}[unit]
        if float(f"{value:.3g}") < 1000:
            return f"{value:.3g} {unit}"
    if seconds < 3600:
        return f"{_three_digits(seconds)} s"
    return f"{_three_digits(seconds / 3600)} h"


def _three_digits(value: float) -> str:
    """Three digits at least, never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def energy_in_words(joules: float) -> str:
    """Joules or, from 1 kWh on, multiples of that, three digits: ``50.8 MWh``."""
    for unit in ("J", "kJ", "MJ"):
        value = joules / {"J": 1, "kJ": 1e3, "MJ": 1e6}[unit]
        if float(f"{value:.3g}") < 1000 and joules < 3.6e6:
            return f"{value:.3g} {unit}"
    hours = joules / 3.6e6
    for unit in ("kWh", "MWh"):
        if hours < 1000:
            return f"{hours:.3g} {unit}"
        hours /= 1000
    return f"{_three_digits(hours)} GWh"


def rate_in_words(flops_per_second: float) -> str:
    """Operations per second, three digits: ``88.1 PFLOPS``."""
    rate = flops_per_second / 1e9
    for unit in ("GFLOPS", "TFLOPS"):
        if float(f"{rate:.3g}") < 1000:
            return f"{rate:.3g} {unit}"
        rate /= 1000
    return f"{_three_digits(rate)} PFLOPS"


def number_in_words(value: float, *, digits: int = 4) -> str:
    """A number of so many digits, or whole where it has more: ``0.0525``, ``2,673``, ``1,180,498,321``."""
    text = f"{value:,.{digits}g}"
    return f"{value:,.0f}" if "e+" in text else text


def nodes_in_words(nodes: int) -> str:
    """``1 node``, ``4,096 nodes``."""
    return "1 node" if nodes == 1 else f"{nodes:,} nodes"


MEASURES = {
    "accuracy": "accuracy",
    "mean_iou": "mean IoU",
    "label_error_rate": "label error rate",
    "bits_per_symbol": "bits per symbol",
    "reconstruction_error": "reconstruction error",
}
"""What measures of answers are called."""
SHARES = frozenset({"accuracy", "mean_iou", "label_error_rate"})
"""Measures that are shares of one."""


def measure_name(measure: str | None) -> str:
    """``mean IoU`` for ``mean_iou``; without a measure it is the accuracy that is not known."""
    return MEASURES["accuracy" if measure is None else measure]


def measure_value(measure: str, value: float) -> str:
    """``97.5 %`` for a share, else four digits: ``0.7812``."""
    return f"{100 * value:.1f} %" if measure in SHARES else f"{value:.4g}"


def measure_in_words(measure: str | None, value: float) -> str:
    """``accuracy 97.5 %``, ``bits per symbol 0.7812``."""
    return f"{measure_name(measure)} {measure_value(measure or 'accuracy', value)}"
