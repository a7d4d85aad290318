"""Linpack over the whole machine: within a tenth of the published rate, by choices that it did not make."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import compare
from taihusim.validation.table import read_tables


@pytest.mark.slow
@pytest.mark.validation
def test_the_order_of_magnitude_is_right() -> None:
    report = compare(read_tables(names=["hpl"])[0], machine=load_machine("sunway_taihulight"), predictors=PREDICTORS)
    (found,) = report.compared
    assert found.row.measured == 93.01
    assert abs(found.error) < 0.1
    assert found.predicted == pytest.approx(88.1, abs=1.0)  # as the manual says
