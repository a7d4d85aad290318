"""``infer``: outputs of the test set, and the time of batches on any number of nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.problems import BadInput
from taihusim.infer import Inferred, InferRequest, infer
from taihusim.options import Settings
from taihusim.run_folder import RunFolder
from taihusim.setup import Setup, prepare
from taihusim.train import train
from taihusim.training_run import TrainRequest
from tests.taihusim.tiny import CONVOLUTION, tiny_workload
from workloads.checkpoint import save_weights
from workloads.datasets.load import load_dataset


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("infer"), layers=CONVOLUTION)


def setup_of(workload: str, *mapping: str, machine: tuple[str, ...] = ()) -> Setup:
    return prepare(workload=workload, settings=Settings(machine=machine), mapping_flags=mapping)


def inferred(setup: Setup, *nodes: int, seed: int = 0, weights: Path | None = None) -> Inferred:
    return infer(setup, InferRequest(nodes=nodes or (1,), seed=seed, weights=weights))


@pytest.mark.numeric
def test_tiles_layers_and_nothing_take_the_same_time(workload: str) -> None:
    tile, layer, off = (inferred(setup_of(workload, f"numerics={each}"), 1, 64) for each in ("tile", "layer", "off"))
    assert tile.points == layer.points == off.points
    assert tile.output is not None
    assert layer.output is not None
    assert tile.output.shape == layer.output.shape == (30, 10)
    assert np.abs(tile.output - layer.output).max() <= 1e-12 * np.abs(layer.output).max()
    assert tile.accuracy == layer.accuracy
    assert off.output is off.accuracy is None


@pytest.mark.numeric
def test_trained_weights_answer_as_they_did_in_training(workload: str, tmp_path: Path) -> None:
    setup = setup_of(workload)
    (run,) = train(setup, TrainRequest(nodes=(1,), epochs=3))
    assert run.parameters is not None
    save_weights(run.parameters, tmp_path / "w.npz")
    done = inferred(setup, weights=tmp_path / "w.npz")
    assert (done.accuracy, done.trained) == (run.result["test_accuracy"], True)
    assert done.output is not None
    test = load_dataset(setup.workload).test
    expected = setup.graph.predict(run.parameters, test.whole().inputs)
    np.testing.assert_array_equal(done.output, expected[setup.graph.output])


def test_fresh_weights_come_from_the_seed(workload: str) -> None:
    first, again, other = (inferred(setup_of(workload), seed=seed) for seed in (3, 3, 4))
    assert not first.trained
    assert first.output is not None
    assert other.output is not None
    np.testing.assert_array_equal(first.output, again.output)
    assert not np.array_equal(first.output, other.output)


def test_single_precision(workload: str) -> None:
    double, single = (inferred(setup_of(workload, f"precision={each}")) for each in ("fp64", "fp32"))
    assert double.output is not None
    assert single.output is not None
    assert single.output.dtype == np.float32
    np.testing.assert_allclose(single.output, double.output, atol=1e-4 * np.abs(double.output).max())
    assert single.points[0]["seconds_per_batch"] != double.points[0]["seconds_per_batch"]


def test_all_of_the_machine(workload: str) -> None:
    alone, many = inferred(setup_of(workload, "numerics=off"), 1, 40960).points
    assert (many["cores"], many["batch"]) == (10_649_600, 16)
    assert alone["efficiency"] == 1
    for point in (alone, many):
        expected = point["nodes"] * 16 / point["seconds_per_batch"]
        assert point["samples_per_second"] == pytest.approx(expected, rel=1e-12)
        assert point["latency_p50"] == point["latency_p99"] > point["seconds_per_batch"]
        assert point["bottleneck"]
    per_core = [point["samples_per_second"] / point["cores"] for point in (alone, many)]
    assert many["efficiency"] == pytest.approx(per_core[1] / per_core[0], rel=1e-12)


def test_efficiency_is_not_known_where_one_node_has_no_room(workload: str) -> None:
    """1,024 samples of 64 pixels on each core group are 512 KiB already; on 64 nodes they are 16 samples."""
    little = ("processor.memory.capacity=512 KiB",)
    (point,) = inferred(setup_of(workload, "numerics=off", "global_batch=4096", machine=little), 64).points
    assert (point["batch"], point["efficiency"]) == (64, None)


def test_where_uplinks_are_thin_the_network_holds_inference_back(workload: str) -> None:
    thin = ("network.topology.uplink_bandwidth=10 MB/s",)
    alone, many = inferred(setup_of(workload, "numerics=off", machine=thin), 1, 256).points
    assert many["efficiency"] < 0.5
    assert "network" in many["bottleneck"]
    assert "network" not in alone["bottleneck"]


def test_wrong_weights_are_all_named(workload: str, tmp_path: Path) -> None:
    setup = setup_of(workload)
    parameters = setup.graph.initialise(np.random.default_rng(0), np.dtype(np.float64))
    wrong = {**parameters, "linear1.weight": np.zeros((3, 10))}
    del wrong["conv2d1.bias"]
    save_weights(wrong, tmp_path / "w.npz")
    with pytest.raises(BadInput) as caught:
        inferred(setup, weights=tmp_path / "w.npz")
    assert [(each.key, each.value) for each in caught.value.problems] == [
        ("conv2d1.bias", None),
        ("linear1.weight", (3, 10)),
    ]
    assert "(4,)" in caught.value.problems[0].expected
    assert "(64, 10)" in caught.value.problems[1].expected


def test_what_is_not_there_is_refused(workload: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a file that exists"):
        inferred(setup_of(workload), weights=tmp_path / "none.npz")
    with pytest.raises(BadInput, match="1 to 40,960 nodes"):
        inferred(setup_of(workload), 40961)


def test_several_outputs_are_written_by_name(tmp_path: Path) -> None:
    small = ("model.vocabulary=100", "model.steps=16", "model.positions=16", "model.width=8", "model.heads=2")
    data = ("model.layers=1", "data.masked_text.length=16", "data.split={train: 8, test: 4}")
    setup = prepare(workload="bert", settings=Settings(workload=(*small, *data)))
    done = infer(setup, InferRequest(nodes=(1,)))
    assert done.outputs is not None
    folder = RunFolder(path=tmp_path / "run", setup=setup, seed=0, version="0")
    asked = {"workload": "bert", "machine": setup.machine.name, "points": done.points, "outputs": None}
    result, _ = folder.save_inference(asked, outputs=done.outputs)
    with np.load(result["outputs"]) as written:
        assert set(written.files) == {"masked", "follows"}
        assert (written["masked"].shape, written["follows"].shape) == ((4, 16, 100), (4, 2))
        np.testing.assert_array_equal(written["follows"], done.outputs["follows"])
