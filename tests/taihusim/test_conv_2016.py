"""The 2016 library's logs: rows that were not calibrated with, and what cannot be predicted."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from taihusim.validation.conv_implicit import swdnn_2016
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.table import read_tables


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("index", [22, 47, *(pytest.param(each, marks=pytest.mark.validation) for each in (53, 87))])
def test_rows_that_were_not_calibrated_with(index: int) -> None:
    """The limit of the table's worst row; compute-bound and transfer-bound tiles, batch 128 and 256."""
    (table,) = read_tables(names=["swdnn_conv_fp64_4cg"])
    row = table.rows[index]
    assert row.inputs["ro"] != "16"
    predicted = swdnn_2016(row.inputs, load_machine("sunway_taihulight"))
    assert predicted == pytest.approx(row.measured, rel=0.07)


@pytest.mark.parametrize(("changed", "why"), [({"ro": "18"}, "shared out"), ({"ni": "384", "no": "384"}, "LDM")])
def test_what_the_library_cannot_do_is_not_predicted(changed: dict[str, str], why: str) -> None:
    inputs = {"batch": "128", "ni": "128", "no": "128", "ro": "16", "co": "16", "k": "3", **changed}
    with pytest.raises(Unpredictable, match=why):
        swdnn_2016(inputs, load_machine("sunway_taihulight"))
