"""The errors of parts from reports of validation."""

from __future__ import annotations

from taihusim.uncertainty import residuals_of
from taihusim.validation.report import Comparison, TableReport
from taihusim.validation.residuals import residual_data
from taihusim.validation.table import Row


def report(name: str, unit: str, *pairs: tuple[float, float], **inputs: str) -> TableReport:
    """Rows of (measured, predicted)."""
    compared = tuple(
        Comparison(row=Row(line=line, inputs=inputs, measured=measured, unit=unit), predicted=predicted)
        for line, (measured, predicted) in enumerate(pairs)
    )
    return TableReport(
        name=name, rows=len(pairs), compared=compared, uncovered=(), excluded=0, unit_of_error="fraction"
    )


def test_more_is_slower_for_times_and_faster_for_rates() -> None:
    data = residual_data(
        [
            report("layers_a", "s", (2.0, 1.0)),
            report("dma_a", "GB/s", (2.0, 1.0)),
            report("input_pipeline", "ms", (3.0, 4.0), nodes="1"),
        ]
    )
    found = {name: part["middle"] for name, part in data["parts"].items()}
    assert found == {"kernels": 2.0, "dma": 0.5, "input": 0.75}


def test_every_table_has_the_same_weight() -> None:
    many = [(1.0, 1.0)] * 97
    data = residual_data([report("conv_a", "s", *many), report("gemm_a", "s", (2.0, 1.0))])
    kernels = data["parts"]["kernels"]
    assert (kernels["low"], kernels["middle"], kernels["high"]) == (1.0, 1.0, 2.0)
    assert kernels["rows"] == 98
    assert kernels["tables"] == ["conv_a", "gemm_a"]


def test_shares_and_what_is_not_predicted_are_left_out() -> None:
    data = residual_data([report("conv_a", "%", (50.0, 60.0)), report("dma_a", "GB/s", (1.0, 0.0))])
    assert data["parts"] == {}


def test_how_far_measurements_reach() -> None:
    data = residual_data(
        [report("scaling_speedup", "x", (1.0, 1.0), nodes="64"), report("scaling_speedup_b", "x", nodes="1024")]
    )
    assert data["most_nodes"] == 64
    part = {"rows": 3, "low": 0.9, "middle": 1.0, "high": 1.1, "tables": ["dma_a"]}
    assert residuals_of({**data, "parts": {"dma": part}}).parts["dma"].tables == ("dma_a",)
