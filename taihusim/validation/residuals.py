"""The errors of predictions by what they are of, as predictions of whole steps need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from taihusim.uncertainty import COMMAND, residual_of
from taihusim.validation.report import SHARE, TableReport

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "kernels": ("conv_", "gemm_", "layers_", "swdnn_conv"),
    "dma": ("dma_",),
    "p2p": ("p2p_bandwidth",),
    "allreduce": ("allreduce_bandwidth",),
    "input": ("input_pipeline",),
    "training": ("throughput_training",),
}
"""Beginnings of the tables' names."""
TIMES: Final = frozenset({"s", "ms", "us", "ns", "cycles"})
"""Units of which more is slower; of all others more is faster."""


def residual_data(reports: Sequence[TableReport]) -> dict[str, Any]:
    """The content of the file: factors of measured over predicted times, every table with the same weight."""
    parts = {}
    for part, beginnings in PARTS.items():
        factors: list[tuple[float, float]] = []
        tables = []
        for report in reports:
            if report.name.startswith(beginnings):
                found = _factors(report.of_subset or report)
                factors += [(factor, 1.0 / len(found)) for factor in found]
                tables += [report.name] if found else []
        if factors:
            parts[part] = asdict(residual_of(factors)) | {"tables": tables}
    return {
        "made_by": COMMAND,
        "what": "measured over predicted times: 5 %, 50 % and 95 % of measurements lie below low, middle and high",
        "parts": parts,
        "most_nodes": int(max(_column(reports, "scaling_speedup", "nodes"), default=1)),
        "allreduce_bytes": _range([1e6 * size for size in _column(reports, "allreduce_bandwidth", "message_MB")]),
    }


def _factors(report: TableReport) -> list[float]:
    """Of every compared row that is no share and of which something was predicted."""
    rows = [each for each in report.compared if each.row.unit != SHARE and each.predicted > 0 and each.row.measured > 0]
    ratios = [(each.row.measured / each.predicted, each.row.unit) for each in rows]
    return [ratio if unit in TIMES else 1 / ratio for ratio, unit in ratios]


def _column(reports: Sequence[TableReport], beginning: str, name: str) -> list[float]:
    """The numbers of a column, over all tables of such names, of the rows that errors are taken from."""
    found = []
    for whole in reports:
        if whole.name.startswith(beginning):
            report = whole.of_subset or whole
            rows = [*(each.row for each in report.compared), *(row for row, _ in report.uncovered)]
            found += [float(row.inputs[name]) for row in rows if row.inputs.get(name)]
    return found


def _range(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)] if values else [0.0, 0.0]
