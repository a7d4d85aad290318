"""``compare``, and predictions of machines whose nodes have roofline devices."""

from __future__ import annotations

import pytest

from sim.machine.load import load_machine
from taihusim.validation.inputs import Unpredictable
from taihusim.validation.throughput import K40M, k40m_throughput
from tests.taihusim.command import json_of, refused, taihusim
from tests.taihusim.tiny import CONVOLUTION, tiny_workload

BOTH = ("--machines", "sunway_taihulight,k40m_cluster")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("tiny"), layers=CONVOLUTION)


def test_each_machine_is_predicted_as_by_itself(tiny: str) -> None:
    result = json_of("compare", tiny, *BOTH, "--nodes", "1,64")
    assert (result["nodes"], result["target"], result["precision"]) == ([1, 64], "training", "fp64")
    for found in result["machines"]:
        alone = json_of("predict", tiny, "--machine", found["machine"], "--nodes", "1,64", "--target", "training")
        for point, expected in zip(found["points"], alone["points"], strict=True):
            for name in ("nodes", "cores", "seconds_per_step", "samples_per_second", "efficiency", "bottleneck"):
                assert point[name] == expected[name], name
            assert point["peak_fraction"] == pytest.approx(expected["peak_fraction"])
            joules = point["energy_joules_per_sample"] * expected["global_batch"]
            assert joules == pytest.approx(expected["energy_joules_per_step"])
            assert point["memory_bytes_per_unit"] == expected["memory_bytes_per_core_group"]
    first, second = (found["points"][1] for found in result["machines"])
    assert first["relative_samples_per_second"] == 1.0
    ratio = second["samples_per_second"] / first["samples_per_second"]
    assert second["relative_samples_per_second"] == ratio


def test_inference_and_the_table(tiny: str) -> None:
    inference = json_of("compare", tiny, *BOTH, "--target", "inference", "--precision", "fp32")
    assert all(0 < found["points"][0]["peak_fraction"] < 1 for found in inference["machines"])
    assert inference["machines"][1]["node_peak_gflops"] == pytest.approx(4290)
    shown = taihusim("compare", tiny, *BOTH).stdout
    assert "k40m_cluster, 1 node: kernel launches" in shown
    assert "share of peak" in shown
    assert "memory per device on 1 node" in taihusim("predict", tiny, "--machine", "k40m_node").stdout


def test_devices_change_with_their_machine_file(tiny: str) -> None:
    base = json_of("predict", tiny, "--machine", "k40m_node", "--target", "training")["points"][0]
    setting = ("--set", "machine.processor.launch=70us")
    slow = json_of("predict", tiny, "--machine", "k40m_node", "--target", "training", *setting)["points"][0]
    assert slow["seconds_per_step"] > 5 * base["seconds_per_step"]
    assert base["seconds_per_step_low"] is None
    assert base["extrapolated"]
    assert set(base["energy_joules_by_component"]) == {
        *("devices", "host", "interface", "switches", "conversion", "storage"),
    }


def test_what_would_relieve_devices(tiny: str) -> None:
    found = json_of("predict", tiny, "--machine", "k40m_cluster", "--nodes", "4", "--sensitivity", "chip")
    keys = [row["key"] for row in found["sensitivity"]]
    assert keys[0] == "processor.launch"
    assert "processor.memory.bandwidth" in keys


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--machines", "k40m_node"], ["--machines: expected at least 2 machines"]),
        (["--machines", "k40m_node,k40m_node"], ["--machines: expected each machine once"]),
        (["--machines", "k40m_node,k40m_claster"], ["did you mean 'k40m_cluster'?"]),
        (["--machines", "k40m_node,k40m_cluster", "--nodes", "2,1000"], ["1 to 1 nodes", "1 to 648 nodes"]),
        ([*BOTH, "--precision", "int16", "--target", "inference"], ["precision: expected fp32 or fp64"]),
        (
            [*BOTH, "--ranks-per-node", "4"],
            ["ranks_per_node: expected 1, as a node of k40m_cluster computes with 1 x K40m"],
        ),
        ([*BOTH, "--set", "machine.network.nodes=5"], ["expected workload.KEY=VALUE or mapping.KEY=VALUE"]),
    ],
)
def test_bad_input(arguments: list[str], words: list[str], tiny: str) -> None:
    said = "\n".join(refused("compare", tiny, *arguments))
    for each in words:
        assert each in said


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["train"], "expected a machine with core groups"),
        (["infer"], "expected a machine with core groups"),
        (["predict", "--strategy", "pipeline=2", "--nodes", "2"], "not core groups to divide for"),
    ],
)
def test_what_needs_core_groups_says_so(command: list[str], expected: str, tiny: str) -> None:
    (line,) = refused(command[0], tiny, "--machine", "k40m_cluster", *command[1:])
    assert expected in line


def test_a_batch_that_does_not_fit_a_device() -> None:
    (line,) = refused("predict", "vgg16", "--machine", "k40m_node", "--precision", "fp32", "--batch-per-node", "256")
    assert "processor.memory.capacity: expected at least" in line
    assert "what fits: --batch-per-node 81" in line
    flags = ("--machine", "k40m_node", "--precision", "fp32", "--target", "training", "--batch-per-node")
    (point,) = json_of("predict", "vgg16", *flags, "81")["points"]
    assert point["memory_bytes_per_core_group"] <= 12e9
    assert refused("predict", "vgg16", *flags, "82")


def test_four_ranks_go_with_four_core_groups(tiny: str) -> None:
    said = refused("predict", tiny, "--machine", "sunway_oceanlight", "--ranks-per-node", "4")
    assert "expected 1, as a node of sunway_oceanlight has 6 core groups" in said[0]
    assert refused("train", tiny, "--machine", "sunway_oceanlight", "--ranks-per-node", "4") == said


def test_errors_of_the_old_chip_are_not_those_of_the_new(tiny: str) -> None:
    old, new = (
        json_of("predict", tiny, "--machine", name, "--target", "training")["points"][0]
        for name in ("sunway_taihulight", "sunway_oceanlight")
    )
    assert set(new["extrapolated_because"]) - set(old["extrapolated_because"]) == {"errors are those of SW26010"}
    assert new["cores"] == 390
    assert new["seconds_per_step_low"] < new["seconds_per_step"] < new["seconds_per_step_high"]


def test_machines_are_listed_and_shown() -> None:
    by_name = {row["machine"]: row for row in json_of("machine", "list")["machines"]}
    assert by_name["k40m_cluster"]["core_groups"] is None
    assert by_name["k40m_cluster"]["devices"] == 648
    assert by_name["sunway_oceanlight"]["devices"] is None
    assert by_name["sunway_oceanlight"]["watts"] == pytest.approx(35e6, rel=0.01)
    assert by_name["sunway_oceanlight"]["node_peak_fp32_gflops"] == pytest.approx(27_864, rel=1e-3)
    assert "peak of one device in fp32" in taihusim("machine", "show", "k40m_node").stdout


def test_the_roofline_is_an_upper_bound_of_published_rates() -> None:
    row = {"device": K40M, "precision": "fp32", "library": ""}
    machine = load_machine("sunway_taihulight")
    for net, batch, measured in (("AlexNet", 256, 79.25), ("VGG-16", 64, 13.79), ("ResNet-50", 32, 25.45)):
        rate = k40m_throughput({**row, "net": net, "batch": str(batch)}, machine)
        assert measured < rate < 6 * measured
    with pytest.raises(Unpredictable, match="is not K40m"):
        k40m_throughput({**row, "net": "VGG-16", "batch": "64", "device": "12-core E5-2680v3"}, machine)
