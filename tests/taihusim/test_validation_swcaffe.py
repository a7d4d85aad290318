"""Predictions of swCaffe's layer times, and subsets of tables that are declared."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from click.testing import CliRunner

from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.commands.validate import command
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.layers_swcaffe import kind_of, layers_figure, layers_log, vgg16_layers
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import TableReport, compare
from taihusim.validation.subsets import SUBSETS
from taihusim.validation.swcaffe_nets import Conv, FullyConnected, layer_of, out_size
from taihusim.validation.table import Table, read_tables

LOG = "layers_swcaffe_log_fp32_1cg"
FIGURE = "layers_swcaffe_fig_fp32_4cg"
LOG_ROW = {
    "net": "AlexNet_bn", "layer": "relu3", "dir": "forward", "batch": "256", "cgs": "1", "library": "swcaffe-2018",
}  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


def report(name: str, machine: MachineSpec, *, every: int = 1) -> TableReport:
    (table,) = read_tables(names=[name])
    some = Table(name=table.name, comments=table.comments, rows=table.rows[::every])
    return compare(some, machine=machine, predictors=PREDICTORS)


def test_alexnet_has_the_published_weights_and_products() -> None:
    """60.967 M weights, those of the normalisations among them, 0.7244 GMAC, as computed from the network's file."""
    weights = products = 0
    for number in range(1, 9):
        layer = layer_of("AlexNet_bn", f"conv{number}" if number < 6 else f"fc{number}")
        if isinstance(layer, Conv):
            filters = layer.no * (layer.ni // layer.groups) * layer.kernel**2
            weights += filters + (layer.no if layer.bias else 2 * layer.no)
            products += filters * out_size(layer) ** 2
        else:
            assert isinstance(layer, FullyConnected)
            weights += layer.ins * layer.outs + layer.outs
            products += layer.ins * layer.outs
    assert weights == pytest.approx(60.967e6, abs=500)
    assert products == pytest.approx(0.7244e9, rel=1e-3)


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("conv_vgg16_layers_fp32_1cg", marks=pytest.mark.validation), LOG, FIGURE]
)
def test_mean_error(name: str, machine: MachineSpec) -> None:
    found = report(name, machine)
    accepted = found.of_subset or found
    assert len(accepted.compared) >= 0.95 * accepted.rows
    assert accepted.mean_abs_error is not None
    assert accepted.mean_abs_error <= 0.20


@pytest.mark.slow
@pytest.mark.timing
def test_rectifiers_follow_from_streaming(machine: MachineSpec) -> None:
    """Nothing is fitted to them: five sizes, two directions, within 5 % where spawn and join do not matter."""
    (table,) = read_tables(names=[LOG])
    rows = [row for row in table.rows if row.inputs["layer"] in ("relu1", "relu2", "relu3", "relu4", "relu5")]
    assert len(rows) == 20
    for row in rows:
        assert layers_log(row.inputs, machine) == pytest.approx(row.measured, rel=0.05)


@pytest.mark.timing
def test_four_core_groups_share_a_layer_out(machine: MachineSpec) -> None:
    for name, kind in (("relu1", 0.02), ("fc6", 0.15)):
        one = layers_log({**LOG_ROW, "layer": name}, machine)
        four = layers_figure({**LOG_ROW, "layer": name, "device": "SW26010 4 CG"}, machine)
        assert one / four == pytest.approx(4, rel=kind)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"layer": "conv1/bn"}, "bn: ran partly on the MPE"),
        ({"layer": "drop6"}, "drop: ran partly on the MPE"),
        ({"library": "autotuned-2019"}, "not modelled"),
        ({"cgs": "4"}, "one core group"),
        ({"dir": "sideways"}, "neither forward nor backward"),
    ],
)
def test_rows_of_the_log_without_a_prediction(changed: Mapping[str, str], why: str, machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match=why):
        layers_log({**LOG_ROW, **changed}, machine)


def test_rows_of_vgg16_without_a_prediction(machine: MachineSpec) -> None:
    row = {
        "what": "conv layer time, implicit GEMM", "Ni": "3", "No": "64", "Ci": "224", "batch": "128", "cgs": "1",
        "phase": "forward", "library": "swcaffe-2018",
    }  # fmt: skip
    with pytest.raises(Unpredictable, match="does not take this shape"):
        vgg16_layers(row, machine)
    with pytest.raises(Unpredictable, match="names neither"):
        vgg16_layers({**row, "what": "conv layer time"}, machine)
    with pytest.raises(Unpredictable, match="phase"):
        vgg16_layers({**row, "phase": "sideways"}, machine)


def test_kinds_of_layers() -> None:
    assert [kind_of(each) for each in ("conv1/bn", "drop7", "pool5", "top-1")] == ["bn", "drop", "pool", "top"]


@pytest.mark.slow
def test_a_subset_is_declared_beside_the_whole_table(machine: MachineSpec) -> None:
    found = report(LOG, machine, every=7)
    accepted = found.of_subset
    assert accepted is not None
    assert 0 < accepted.rows < found.rows
    assert {row.inputs["layer"] for row, _ in found.uncovered}.isdisjoint(
        each.row.inputs["layer"] for each in accepted.compared
    )
    said = found.as_json()
    assert said["accepted_subset"] == SUBSETS[LOG].words
    assert said["subset_rows"] == said["subset_covered"] == accepted.rows
    assert said["subset_mean_abs_error"] == accepted.mean_abs_error
    assert said["rows"] == found.rows
    assert report("dma_stream", machine, every=1000).as_json()["accepted_subset"] is None


@pytest.mark.slow
def test_the_command_prints_the_subset() -> None:
    result = CliRunner().invoke(command, ["--table", FIGURE])
    assert result.exit_code == 0, result.output
    assert "accepted over conv, fc and relu rows" in result.output
    assert "30 of 30 rows covered" in result.output
