"""Predictions of swCaffe's input pipeline: from a row's conditions alone, and as near as they are said to be."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from taihusim.validation.input_pipeline import input_pipeline
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import TableReport, compare
from taihusim.validation.table import read_tables

MACHINE = load_machine("sunway_taihulight")


def of(report: TableReport, what: str, *, slow: bool = False) -> list[float]:
    """Errors of the rows of one kind; ``slow``: of AlexNet's second iteration."""
    return [
        each.error
        for each in report.compared
        if what in each.row.inputs["what"]
        and slow == (each.row.inputs["net"] == "AlexNet_bn" and each.row.inputs["iteration"] == "2")
    ]


@pytest.mark.validation
def test_errors_are_what_the_manual_says() -> None:
    report = compare(read_tables(names=["input_pipeline"])[0], machine=MACHINE, predictors=PREDICTORS)
    assert len(report.compared) == 15
    assert max(map(abs, of(report, "read time"))) < 0.12
    assert max(map(abs, of(report, "transform time"))) < 0.14
    assert max(map(abs, of(report, "fetch batch"))) < 0.09
    assert of(report, "read time", slow=True) == pytest.approx([-0.575], abs=0.005)


def test_only_what_is_known_is_predicted() -> None:
    row = {"what": "input pipeline: read time", "net": "VGG-16", "batch": "128", "unit": "ms"}
    assert input_pipeline(row, MACHINE) == pytest.approx(328.6, abs=0.1)
    with pytest.raises(Unpredictable, match="LeNet"):
        input_pipeline({**row, "net": "LeNet"}, MACHINE)
    with pytest.raises(Unpredictable, match="no part of the input pipeline"):
        input_pipeline({**row, "what": "input pipeline: sleep"}, MACHINE)
