"""Predictions of published training rates and shares: what is covered, and how far off they are."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

import pytest

from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import compare
from taihusim.validation.table import read_tables
from taihusim.validation.throughput import input_copy_seconds, throughput_training, time_share

RATE = {
    "net": "AlexNet", "batch": "256", "device": "SW26010 (4 CG)", "precision": "fp32", "library": "swcaffe-2018",
}  # fmt: skip
SHARE = {"net": "AlexNet", "part": "conv", "library": "autotuned-2019"}


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"device": "K40m cuDNN5.1"}, "is not SW26010 with 4 core groups"),
        ({"library": "swdnn-2016"}, "not modelled"),
        ({"net": "LeNet"}, "is none of"),
        ({"batch": "many"}, "no number"),
        ({"batch": "8192"}, "fit"),
    ],
)
def test_rates_without_a_prediction(changed: Mapping[str, str], why: str, machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match=why):
        throughput_training({**RATE, **changed}, machine)


@pytest.mark.parametrize("changed", [{"net": "LeNet"}, {"library": "swdnn-2016"}])
def test_shares_without_a_prediction(changed: Mapping[str, str], machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable):
        time_share({**SHARE, **changed}, machine)


def test_each_core_group_copies_its_samples(machine: MachineSpec) -> None:
    seconds = input_copy_seconds("alexnet_bn", "swcaffe-2018", 256, machine)
    assert seconds == pytest.approx(64 * 227 * 227 * 3 * 4 / 9.9e9)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.validation
@pytest.mark.parametrize(("net", "most"), [("AlexNet", 0.08), ("VGG-16", 0.15), ("ResNet-50", 0.50)])
def test_rates(net: str, most: float, machine: MachineSpec) -> None:
    (table,) = read_tables(names=["throughput_training"])
    found = compare(table, machine=machine, predictors=PREDICTORS)
    errors = [abs(each.error) for each in found.compared if each.row.inputs["net"] == net]
    assert len(errors) == 2
    assert mean(errors) <= most


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.validation
def test_shares(machine: MachineSpec) -> None:
    (table,) = read_tables(names=["time_share"])
    found = compare(table, machine=machine, predictors=PREDICTORS)
    assert found.mean_abs_error is not None
    assert found.mean_abs_error <= 4
    assert sum(each.predicted for each in found.compared) == pytest.approx(100, abs=1)
