"""Bandwidths of the network against published ones: within what is accepted, and reported in parts."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from sim.machine.spec import MachineSpec
from taihusim.validation.groups import GROUPS
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.network import allreduce_bandwidth, p2p_bandwidth
from taihusim.validation.predictors import PREDICTORS
from taihusim.validation.report import TableReport, compare
from taihusim.validation.scaling import comm_share, comm_share_thesis
from taihusim.validation.subsets import FLOORS
from taihusim.validation.table import SHIPPED, read_table


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("sunway_taihulight")


def report(name: str, machine: MachineSpec) -> TableReport:
    return compare(read_table(SHIPPED / f"{name}.csv"), machine=machine, predictors=PREDICTORS)


@pytest.mark.validation
def test_messages_between_two_nodes(machine: MachineSpec) -> None:
    found = report("p2p_bandwidth", machine)
    assert found.mean_abs_error is not None
    assert found.mean_abs_error <= 0.03
    assert (len(found.compared), found.excluded) == (62, 4)
    assert {why for _, why in found.uncovered} == {FLOORS["p2p_bandwidth"].words}
    assert max(row.measured for row, _ in found.uncovered) < 0.05


@pytest.mark.validation
def test_all_reduces(machine: MachineSpec) -> None:
    """Of 1,024 nodes nothing was fitted."""
    found = report("allreduce_bandwidth", machine)
    accepted = found.of_subset
    assert accepted is not None
    assert accepted.mean_abs_error is not None
    assert (accepted.rows, len(accepted.compared)) == (28, 28)
    assert accepted.mean_abs_error <= 0.04
    groups = dict(found.groups)
    assert list(groups) == [group.words for group in GROUPS["allreduce_bandwidth"]]
    for words, group in groups.items():
        assert group.mean_abs_error is not None
        assert words.startswith("ring") or group.mean_abs_error <= 0.04
    said = found.as_json()["groups"]
    assert isinstance(said, list)
    labelled, read = (each["mean_abs_error"] for each in said[-2:])
    assert read < labelled / 2


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"series": "IB_uni", "message_bytes": "1024"}, "another network"),
        ({"series": "SW_uni", "message_bytes": "x"}, "is no number"),
        ({"series": "", "message_bytes": "1"}, "nothing in column"),
    ],
)
def test_rows_of_other_networks(inputs: dict[str, str], says: str, machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match=says):
        p2p_bandwidth(inputs, machine)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"nodes": "256", "algorithm": "Bruck", "message_MB": "1"}, "algorithm Bruck is not modelled"),
        ({"nodes": "1", "algorithm": "Ring", "message_MB": "1"}, "not between 2"),
        ({"nodes": "256", "algorithm": "Ring", "message_MB": "-1"}, "not above 0"),
        ({"nodes": "256", "algorithm": "Ring", "message_MB": "much"}, "no number"),
    ],
)
def test_rows_of_other_all_reduces(inputs: dict[str, str], says: str, machine: MachineSpec) -> None:
    with pytest.raises(Unpredictable, match=says):
        allreduce_bandwidth(inputs, machine)


def test_runs_that_are_not_modelled(machine: MachineSpec) -> None:
    run = {"run": "LeNet_B64", "nodes": "2", "library": "autotuned-2019"}
    with pytest.raises(Unpredictable, match="network LeNet is not modelled"):
        comm_share(run, machine)
    with pytest.raises(Unpredictable, match="NETWORK_Bsamples"):
        comm_share({**run, "run": "AlexNet"}, machine)
    thesis = {"net": "AlexNet", "algorithm": "Tree", "nodes": "2", "library": "autotuned-2019"}
    with pytest.raises(Unpredictable, match="algorithm Tree is not modelled"):
        comm_share_thesis(thesis, machine)
    with pytest.raises(Unpredictable, match="swdnn-2040"):
        comm_share({"run": "AlexNet_B64", "nodes": "2", "library": "swdnn-2040"}, machine)


@pytest.mark.slow
@pytest.mark.validation
def test_weak_scaling(machine: MachineSpec) -> None:
    """One number is fitted to the share of ResNet-50, none to AlexNet's nor to a speed-up."""
    names = ("scaling_comm_share", "scaling_comm_share_thesis", "scaling_speedup", "scaling_speedup_thesis")
    found = {name: report(name, machine) for name in names}
    errors = {name: each.mean_abs_error for name, each in found.items()}
    shares, speedups = (errors[name] for name in names[:2]), (errors[name] for name in names[2:])
    assert all(error is not None and error <= 2.0 for error in shares)
    assert all(error is not None and error <= 0.04 for error in speedups)
    groups = {words: group.mean_abs_error for words, group in found["scaling_comm_share"].groups}
    assert all(error is not None and error <= 2.0 for words, error in groups.items() if words.startswith("AlexNet"))
