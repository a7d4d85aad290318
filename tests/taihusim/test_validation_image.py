"""Predictions of the published image-size-aware convolutions, on a few rows that no residual was fitted to."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from taihusim.validation.conv_image import autotuned_fp32, hand_fp32, plans_2017, swdnn_2017, taco
from taihusim.validation.inputs import Predictor, Unpredictable
from taihusim.validation.table import read_tables

PREDICTORS: dict[str, tuple[Predictor, tuple[int, ...], float]] = {
    "conv_swdnn2017_fp64": (swdnn_2017, (1, 8, 25), 0.06),
    "conv_implicit_hand_fp32": (hand_fp32, (0, 2), 0.15),
    "conv_autotuned_fp32": (autotuned_fp32, (3, 10), 0.15),
}
"""Per table the predictor, rows counted from 0, and how far the predictions may be off."""

TABLE_3 = {"plan": "img", "K": "3", "bB": "32", "bCo": "16", "Ni": "128", "No": "128", "cgs": "1", "precision": "fp64"}


@pytest.mark.slow
def test_a_printed_tile_is_taken_and_both_plans_are_known() -> None:
    machine = load_machine("sunway_taihulight")
    image = plans_2017(TABLE_3, machine)
    fewer = plans_2017({**TABLE_3, "bCo": "4"}, machine)
    batch = plans_2017({**TABLE_3, "plan": "batch", "bB": "", "bCo": ""}, machine)
    assert fewer < image < 742.4
    assert 100 < batch < 742.4


@pytest.mark.slow
@pytest.mark.validation
@pytest.mark.parametrize("name", PREDICTORS)
def test_rows_are_predicted(name: str) -> None:
    predictor, rows, limit = PREDICTORS[name]
    machine = load_machine("sunway_taihulight")
    (table,) = read_tables(names=[name])
    for number in rows:
        row = table.rows[number]
        assert predictor(row.inputs, machine) == pytest.approx(row.measured, rel=limit), row.inputs


@pytest.mark.parametrize(
    ("predictor", "inputs", "reason"),
    [
        (swdnn_2017, {"Ni": "64", "No": "64", "B": "128", "Ro": "64", "Co": "64", "K": "3"}, "precision"),
        (taco, {"averaged_over": "K 1..3"}, "neither Ni nor No"),
        (hand_fp32, {"layer": "AlexNet conv1", "batch": "32"}, "none of VGG16"),
        (autotuned_fp32, {"K": "2"}, "does not keep the size"),
        (plans_2017, {**TABLE_3, "plan": "column"}, "neither image- nor batch-size-aware"),
        (plans_2017, {**TABLE_3, "bB": "16"}, "multiple of 32"),
        (plans_2017, {**TABLE_3, "bCo": "64", "No": "384"}, "LDM"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(predictor: Predictor, inputs: dict[str, str], reason: str) -> None:
    with pytest.raises(Unpredictable, match=reason):
        predictor(inputs, load_machine("sunway_taihulight"))
