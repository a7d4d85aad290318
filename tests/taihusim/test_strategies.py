"""Training under a parallel strategy: the numbers of data parallelism, times of its own, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sim.problems import BadInput
from taihusim.options import Settings
from taihusim.setup import Setup, prepare
from taihusim.strategy_programs import strategy_step
from taihusim.train import train
from taihusim.training_run import TrainedRun, TrainRequest
from tests.taihusim.command import json_of, refused
from tests.taihusim.tiny import CONVOLUTION, tiny_workload
from workloads.bottleneck import training_bottleneck

LAYERS = f"""{CONVOLUTION.rsplit(chr(10), 1)[0]}
    - {{type: linear, units: 16}}
    - {{type: relu}}
    - {{type: linear, units: 10}}"""


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("strategies"), layers=LAYERS)


def setup_of(workload: str, *mapping: str, machine: tuple[str, ...] = ()) -> Setup:

    return prepare(workload=workload, mapping_flags=mapping, settings=Settings(machine=machine))


def trained(workload: str, nodes: int, *mapping: str) -> TrainedRun:
    return train(setup_of(workload, *mapping), TrainRequest(nodes=(nodes,), epochs=2))[0]


@pytest.mark.numeric
@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy", ["tensor=2", "pipeline=4,micro_batches=2", "tensor=2,pipeline=2,micro_batches=4,optimizer_sharding"]
)
def test_training_gives_the_weights_of_data_parallelism(workload: str, strategy: str) -> None:
    """On 4 nodes, after as many steps, up to the order of summation; the record says who added."""
    data, divided = (trained(workload, 4, f"strategy={each}") for each in ("data", strategy))
    assert divided.result["reduction_order"] == "strategy"
    assert divided.result["final_loss"] == pytest.approx(data.result["final_loss"], rel=1e-10)
    assert data.parameters is not None
    assert divided.parameters is not None
    for name, array in data.parameters.items():
        assert np.abs(divided.parameters[name] - array).max() <= 1e-10 * np.abs(array).max(), name
    assert divided.result["seconds_per_step"] != data.result["seconds_per_step"]
    assert sum(divided.result["shares"].values()) == pytest.approx(1, abs=1e-12)


def test_the_command_trains_under_a_strategy(workload: str) -> None:
    run = json_of("train", workload, "--nodes", "2", "--epochs", "0.5", "--strategy", "pipeline=2")["runs"][0]
    assert run["shares"]["pipeline_bubble"] > 0
    assert run["reduction_order"] == "strategy"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--strategy", "tensr=2"), "did you mean 'tensor'"),
        (("--strategy", "tensor=3"), "a multiple of 3 ranks"),
        (("--strategy", "tensor=2,micro_batches=5"), "a divisor of the 32 samples"),
        (("--strategy", "pipeline=2", "--numerics", "tile"), "numerics layer"),
        (("--strategy", "pipeline=2", "--precision", "int16"), "fp64 or fp32"),
    ],
)
def test_what_cannot_be_is_one_line(workload: str, flags: tuple[str, ...], words: str) -> None:
    (line,) = refused("train", workload, "--nodes", "2", "--epochs", "1", *flags)
    assert words in line


def test_too_many_ranks_for_numbers(workload: str) -> None:
    (line,) = refused("train", workload, "--nodes", "512", "--epochs", "1", "--strategy", "pipeline=2")
    assert "at most 256 ranks" in line


@pytest.mark.slow
def test_a_stage_that_does_not_fit_says_what_would(workload: str) -> None:
    """Each change that is named makes it fit, and one sample more than the batch that is named does not."""
    spec = ("processor.memory.capacity=100 kB",)
    strategy = ("tensor=4", "micro_batches=4")
    with pytest.raises(BadInput) as caught:
        strategy_step(setup_of(workload, *strategy, machine=spec), global_batch=512, nodes=8)
    (problem,) = caught.value.problems
    assert "for stage 1, layers 'conv2d1' to 'linear2'" in problem.expected
    ways = problem.expected.partition("what fits is ")[2].split(", or ")
    changes = {
        "--set mapping.recompute=true": "recompute=true",
        "--precision fp32": "precision=fp32",
        "micro_batches=8": "micro_batches=8",
        "micro_batches=16": "micro_batches=16",
        "optimizer_sharding": "optimizer_sharding=true",
    }
    batch = int(ways.pop().removeprefix("--batch-per-node ").removesuffix(" in 4 micro-batches"))
    assert len(ways) >= 2
    for way in ways:
        assert strategy_step(setup_of(workload, *strategy, changes[way], machine=spec), global_batch=512, nodes=8)
    assert strategy_step(setup_of(workload, *strategy, machine=spec), global_batch=8 * batch, nodes=8)
    with pytest.raises(BadInput):
        strategy_step(setup_of(workload, *strategy, machine=spec), global_batch=8 * batch + 32, nodes=8)


def test_inference_knows_no_strategy(workload: str) -> None:
    (line,) = refused("infer", workload, "--strategy", "pipeline=2")
    assert line == "--strategy: expected data: every node answers with the whole network, found 'pipeline=2'"


def test_a_prediction_says_how_the_step_is_divided(workload: str) -> None:
    """What is lost to waiting, messages and late ranks is part of the shares; all else is as of data parallelism."""
    flags = ("--nodes", "40", "--target", "training", "--noise")
    (point,) = json_of("predict", workload, *flags, "--strategy", "tensor=2,pipeline=2")["points"]
    (data,) = json_of("predict", workload, *flags)["points"]
    divided = point["divided"]
    assert list(point) == list(data)
    assert set(point["shares"]) - set(data["shares"]) == {"pipeline_bubble"}
    assert [name for name in point if point[name] is None and data[name] is not None] == ["speedup", "efficiency"]
    assert sum(point["shares"].values()) == pytest.approx(1, abs=1e-12)
    assert point["communication_share"] >= point["shares"]["communication_exposed"]
    assert point["shares"]["jitter"] * point["seconds_per_step"] == pytest.approx(divided["jitter_seconds"])
    assert point["seconds_per_step_low"] < point["seconds_per_step"] < point["seconds_per_step_high"]
    assert (divided["reading_nodes"], divided["samples_per_reading_node"]) == (20, point["global_batch"] // 10)
    assert (point["strategy"], divided["replicas"], len(divided["stages"])) == ("tensor=2,pipeline=2", 10, 2)
    assert point["shares"]["pipeline_bubble"] * point["seconds_per_step"] == pytest.approx(divided["bubble_seconds"])
    assert "nothing but data parallelism was measured" in point["extrapolated_because"]
    assert (
        max(stage["memory_bytes_per_core_group"] for stage in divided["stages"]) == point["memory_bytes_per_core_group"]
    )


def test_a_global_batch_is_shared_among_replicas(workload: str) -> None:
    """Fewer samples than nodes, as 4 nodes compute the same ones; two and a half for each node are none too few."""
    flags = ("--target", "training", "--strategy", "tensor=2,pipeline=2")
    (point,) = json_of("predict", workload, "--nodes", "64", "--global-batch", "32", *flags)["points"]
    assert (point["global_batch"], point["divided"]["replicas"]) == (32, 16)
    assert point["samples_per_second"] == pytest.approx(32 / point["seconds_per_step"])
    (line,) = refused("predict", workload, "--nodes", "64", "--global-batch", "40", *flags)
    assert "global batch: expected a multiple of the 16 replicas" in line


def test_devices_known_by_their_peaks_divide_nothing(workload: str) -> None:
    (line,) = refused("predict", workload, "--machine", "k40m_cluster", "--nodes", "4", "--strategy", "pipeline=2")
    assert line == (
        "--strategy: expected data: k40m_cluster has K40m known by their peaks, not core groups to divide for, "
        "found 'pipeline=2'"
    )


def test_communication_under_a_strategy_is_no_all_reduce() -> None:
    text = training_bottleneck(
        shares={"communication_exposed": 0.5, "compute": 0.5},
        busiest="x",
        launches=1,
        launch_seconds=1e-6,
        nodes=2,
        ranks=8,
        gradient_bytes=8,
        collective="ring",
        strategy="tensor=2",
    )
    assert (
        text
        == "communication: what 8 ranks on 2 nodes exchange under tensor=2 while they wait for it is 50 % of the step"
    )
