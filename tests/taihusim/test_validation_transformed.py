"""Predictions of the published convolutions by Winograd's algorithm and by explicit GEMM."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.validation.conv_transformed import explicit_fp32, winograd_fp32
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.published_layers import named_layer
from taihusim.validation.report import compare
from taihusim.validation.table import read_tables

LIBRARY = {"library": "autotuned-2019"}


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("AlexNet conv1", (3, 96, 227, 55)),
        ("AlexNet conv5", (384, 256, 13, 13)),
        ("VGG16 conv1_1", (3, 64, 224, 224)),
        ("VGG16 conv3_1", (128, 256, 56, 56)),
        ("VGG16 conv3_3", (256, 256, 56, 56)),
        ("VGG16 conv5_2", (512, 512, 14, 14)),
    ],
)
def test_layers_have_names(name: str, sizes: tuple[int, int, int, int]) -> None:
    layer = named_layer({"layer": name}, batch=7)
    assert (layer.ni, layer.no, layer.ri, layer.ro) == sizes
    assert layer.batch == 7


@pytest.mark.parametrize(
    "name", ["AlexNet conv6", "VGG16 conv1_3", "VGG16 conv6_1", "VGG16 fc6", "LeNet conv1", "conv1"]
)
def test_an_unknown_layer_is_not_predicted(name: str) -> None:
    with pytest.raises(Unpredictable, match="is not known"):
        named_layer({"layer": name}, batch=1)


@pytest.mark.parametrize("predict", [winograd_fp32, explicit_fp32])
def test_other_libraries_are_not_predicted(predict: object, machine: MachineSpec) -> None:
    assert callable(predict)
    with pytest.raises(Unpredictable, match="swcaffe-2018 is not modelled"):
        predict({"library": "swcaffe-2018"}, machine)


def test_winograd_exceeds_the_peak_of_the_direct_convolution(machine: MachineSpec) -> None:
    row = {**LIBRARY, "HW": "28", "Ni": "512", "No": "512", "batch": "32"}
    peak = machine.processor.core_groups * machine.processor.core_group_cpe_peak_flops / 1e9
    assert peak < winograd_fp32(row, machine) < 2.25 * peak


def test_a_sample_alone_runs_below_the_rate_of_a_batch(machine: MachineSpec) -> None:
    def rate(batch: int) -> float:
        return explicit_fp32({**LIBRARY, "layer": "AlexNet conv3", "batch": str(batch)}, machine)

    assert rate(1) < 0.6 * rate(32)


@pytest.mark.validation
@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv_winograd_fp32", "conv_explicit_fp32"])
def test_the_published_tables_within_15_percent(name: str, machine: MachineSpec) -> None:
    (table,) = read_tables(names=[name])
    report = compare(table, machine=machine, predictors=PREDICTORS)
    assert len(report.compared) == report.rows == len(table.rows)
    assert report.mean_abs_error is not None
    assert report.mean_abs_error <= 0.15
