"""``predict``: the same times as training's, from memory, from disk or anew, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nnlib.kernels.store import KernelStore
from sim.problems import BadInput
from taihusim.cli import main
from taihusim.node_steps import NodeSteps
from taihusim.options import Settings
from taihusim.planning import plan_steps
from taihusim.predict import Predictor, PredictRequest, predict
from taihusim.scaling import scaling
from taihusim.setup import Setup, prepare
from taihusim.share_kinds import KINDS, UNEQUAL, share_of
from taihusim.train import train
from taihusim.training_run import TrainRequest
from tests.nnlib.importers.graphs import model, node
from tests.taihusim.command import in_own_process, json_of, taihusim
from tests.taihusim.tiny import CONVOLUTION, tiny_workload

pytestmark = pytest.mark.timing

NODES = (1, 3, 64)
POINT = {
    *("nodes", "cores", "global_batch", "seconds_per_step", "seconds_per_step_low", "seconds_per_step_high"),
    *("samples_per_second", "speedup", "efficiency", "shares", "communication_share", "memory_bytes_per_core_group"),
    *("energy_joules_per_step", "bottleneck", "extrapolated"),
}
"""Fields that other programs read."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("tiny"), layers=CONVOLUTION)


def steps_of(workload: str, *mapping: str, machine: Sequence[str] = ()) -> NodeSteps:
    return plan_steps(
        workload=workload,
        machine="sunway_taihulight",
        mapping="default",
        settings=Settings(machine=tuple(machine)),
        mapping_flags=mapping,
    )


def points(workload: str, *mapping: str, nodes: tuple[int, ...] = NODES, **request: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = predict(steps_of(workload, *mapping), PredictRequest(nodes=nodes, **request))[
        "points"
    ]
    return found


@pytest.mark.parametrize("mapping", [(), ("overlap=false", "gradient_buckets=1 B"), ("ranks_per_node=4",)])
def test_a_prediction_is_what_training_says(tiny: str, mapping: tuple[str, ...]) -> None:
    """Its samples lie in memory: nothing is waited for."""
    setup = prepare(workload=tiny, mapping_flags=("numerics=off", *mapping))
    trained = train(setup, TrainRequest(nodes=NODES, epochs=1))
    for point, run in zip(points(tiny, *mapping), trained, strict=True):
        result = run.result
        for name in ("nodes", "cores", "global_batch", "seconds_per_step", "samples_per_second", "bottleneck"):
            assert point[name] == result[name], name
        assert point["efficiency"] == pytest.approx(result["efficiency"], rel=1e-12)
        assert point["shares"]["input"] == 0
        assert point["shares"] == result["shares"]
        assert point["energy_joules_per_step"] * result["steps"] == pytest.approx(result["energy_joules"], rel=1e-12)


def test_what_other_programs_read(tiny: str) -> None:
    result = predict(steps_of(tiny), PredictRequest(nodes=NODES))
    assert list(result) == ["workload", "machine", "points", "scaling", "recipe_batch", "inference", "host_seconds"]
    for point in result["points"]:
        assert set(point) >= POINT
        assert sum(point["shares"].values()) == pytest.approx(1, rel=1e-12)
        assert point["seconds_per_step_low"] <= point["seconds_per_step"] <= point["seconds_per_step_high"]
        memory = point["memory"]
        assert sum(memory.values()) == point["memory_bytes_per_core_group"]
        # 64 samples to learn from, and 100 steps of 16 in the recipe
        assert point["seconds_per_epoch"] == pytest.approx(64 / point["samples_per_second"], rel=1e-12)
        assert point["seconds_to_train"] == pytest.approx(1600 / point["samples_per_second"], rel=1e-12)
    json.dumps(result, allow_nan=False)


def test_inference_scales_where_training_does_not(tiny: str) -> None:
    result = predict(steps_of(tiny), PredictRequest(nodes=(1, 64)))
    trained, answered = (result[name][-1]["efficiency"] for name in ("points", "inference"))
    assert answered == pytest.approx(1, rel=1e-9)
    assert trained < 0.9


class TestKept:
    """Steps on disk are those that were built, to the bit, and never those of something else."""

    def kept(self, steps: NodeSteps, folder: Path) -> NodeSteps:
        """The same, with nothing in memory."""
        steps.store, steps.known = KernelStore(folder / "steps.sqlite"), {}
        for name in ("facts", "setup"):
            steps.__dict__.pop(name, None)
        return steps

    def test_found_is_what_was_built(self, tiny: str, tmp_path: Path) -> None:
        def never() -> Setup:
            raise AssertionError("the network was built")

        built = self.kept(steps_of(tiny), tmp_path)
        first = predict(built, PredictRequest(nodes=NODES, seed=3))
        again = self.kept(steps_of(tiny), tmp_path)
        again.prepare = never
        second = predict(again, PredictRequest(nodes=NODES, seed=3))
        assert "setup" not in again.__dict__
        assert again.training(16) == built.training(16)
        assert again.answering(16) == built.answering(16)
        for result in (first, second):
            result.pop("host_seconds")
        assert first == second

    @pytest.mark.parametrize(
        ("mapping", "machine"),
        [
            (("precision=fp32",), ()),
            (("gradient_buckets=1 B",), ()),
            ((), ("processor.mpe.launch=23 us",)),
            ((), ("processor.dma.line_time=5 ns",)),
        ],
    )
    def test_what_differs_is_not_found(
        self, tiny: str, tmp_path: Path, mapping: tuple[str, ...], machine: tuple[str, ...]
    ) -> None:
        base = self.kept(steps_of(tiny), tmp_path)
        other = self.kept(steps_of(tiny, *mapping, machine=machine), tmp_path)
        assert other.training(16) != base.training(16)

    def test_a_changed_file_is_another_workload(self, tmp_path: Path) -> None:
        path = Path(tiny_workload(tmp_path))
        before = self.kept(steps_of(str(path)), tmp_path)
        step = before.training(16)
        path.write_text(path.read_text().replace("units: 10", "units: 12"))
        after = self.kept(steps_of(str(path)), tmp_path)
        assert before.digest != after.digest
        assert after.training(16).gradient_bytes > step.gradient_bytes

    def test_the_network_changes_the_step_and_not_the_node(self, tiny: str, tmp_path: Path) -> None:
        slow = ("network.link.node_bandwidth=1 GB/s", "network.link.node_duplex_bandwidth=2 GB/s")
        base, other = self.kept(steps_of(tiny), tmp_path), self.kept(steps_of(tiny, machine=slow), tmp_path)
        assert other.training(16) == base.training(16)
        assert other.timing(16, 8).seconds > base.timing(16, 8).seconds


def test_ranks_that_begin_together_are_timed_as_all_of_them_would(tiny: str) -> None:
    """What the parts of a step have in common is timed once; each by itself gives the same."""
    steps = steps_of(tiny, "gradient_buckets=1 B")
    timing = steps.timing(16, 96)
    steps.known.clear()
    assert steps.timing(16, 96) == timing  # remembered collectives
    steps.known.clear()
    steps.communicators[96].remember = False
    assert steps.timing(16, 96) == timing


def test_noise_only_costs_and_follows_its_seed(tiny: str) -> None:
    quiet, noisy, same, other = (points(tiny, nodes=(1, 512), seed=seed)[-1] for seed in (None, 1, 1, 2))
    assert noisy == same
    assert noisy["seconds_per_step"] > quiet["seconds_per_step"]
    assert noisy["seconds_per_step"] != other["seconds_per_step"]
    assert noisy["shares"]["jitter"] > 0
    assert sum(noisy["shares"].values()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("machine", "flags", "seed"),
    [
        ("sunway_taihulight", (), None),
        ("sunway_taihulight", (), 1),
        ("sunway_taihulight", ("pipeline=2",), 1),
        ("k40m_cluster", (), None),
    ],
)
def test_the_kinds_of_shares_are_the_whole_step(
    tiny: str, machine: str, flags: tuple[str, ...], seed: int | None
) -> None:
    steps = plan_steps(workload=tiny, machine=machine, mapping="default", settings=Settings(), mapping_flags=flags)
    (point,) = predict(steps, PredictRequest(nodes=(4,), target="training", seed=seed))["points"]
    assert sum(share_of(point, kind) for kind in KINDS) == pytest.approx(1, rel=1e-12)
    assert (share_of(point, UNEQUAL) > 0) == (seed is not None)


def test_the_table_shows_unequal_nodes_where_they_are(tiny: str) -> None:
    said = [
        CliRunner().invoke(main, ["predict", tiny, "--nodes", "4", "--target", "training", *more]).stdout.splitlines()
        for more in ((), ("--noise",))
    ]
    heads = [lines[1].split() for lines in said]
    assert heads[0][-9:-3] == ["compute", "memory", "in", "chip", "network", "input"]
    assert heads[1][-10:-3] == [*heads[0][-9:-3], "unequal"]


def test_samples_from_storage_limit_many_nodes(tmp_path: Path) -> None:
    """A megabyte for each sample of a network that needs a millisecond for sixteen."""
    path = Path(tiny_workload(tmp_path))
    stored = "  stored: {bytes_per_sample: 1000000.0, source: made up}\nrecipe:"
    path.write_text(path.read_text().replace("recipe:", stored))
    few, many = points(str(path), nodes=(1, 4096))
    assert many["input"]["needed_bytes_per_second"] > many["input"]["available_bytes_per_second"]
    assert many["shares"]["input"] > 0.5
    assert many["bottleneck"].startswith("input: nodes wait for samples")
    assert many["samples_per_second"] * 1e6 <= many["input"]["available_bytes_per_second"] * (1 + 1e-9)
    assert few["efficiency"] == 1
    assert few["input"]["loading_seconds"] is None
    (kept,) = points(str(path), "input_from=memory", nodes=(4096,))
    assert kept["shares"]["input"] < 0.5
    # each of the samples is read once, by processes that share 32 arrays of 2 GB/s
    samples = steps_of(str(path)).facts.train_size
    assert samples is not None
    assert samples * 1e6 / 64e9 < kept["input"]["loading_seconds"] < 60


def test_where_scaling_stops() -> None:
    def point(nodes: int, rate: float, batch: int | None = None, *, exposed: float = 0.0) -> dict[str, Any]:
        samples = 8 * nodes if batch is None else batch
        return {
            "nodes": nodes,
            "samples_per_second": rate,
            "bottleneck": "communication",
            "global_batch": samples,
            "seconds_per_step": samples / rate,
            "shares": {"communication_exposed": exposed},
        }

    assert scaling([point(1, 1.0)]) is None
    everywhere = scaling([point(1, 1.0), point(16, 12.0)])
    assert everywhere == {"stops_beyond_nodes": None, "words": "training scales over all of these nodes"}
    found = scaling([point(160, 40.0), point(1, 1.0), point(16, 12.0)])
    assert found is not None
    assert found["stops_beyond_nodes"] == 16
    assert found["words"] == (
        "training stops scaling beyond 16 nodes: 10 times the nodes bring 3.33 times the samples per second; "
        "what is in the way is communication"
    )
    # the same batch on more nodes: they wait for the network, or each does less well with fewer samples
    for exposed, reason in (
        (0.7, "communication"),
        (0.1, "the batch: a node takes 3.6 times as long for a sample if it has 8 instead of 32"),
    ):
        shared = scaling([point(256, 256.0, 8192), point(1024, 256.0, 8192, exposed=exposed)])
        assert shared is not None
        assert shared["words"].endswith(f"bring 1 times the samples per second; what is in the way is {reason}")
    huge = scaling([point(1, 1.0), point(40_960, 2_673.4)])
    assert huge is not None
    assert "40,960 times the nodes bring 2,673 times the samples per second" in huge["words"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nodes", "1,50000"), ["--nodes", "50000", "1 to 40,960 nodes"]),
        (("--nodes", "1,x"), ["--nodes", "'x'"]),
        (("--collective", "rings"), ["collective", "rings", "ring"]),
        (("--global-batch", "30", "--nodes", "4"), ["global_batch", "multiple of the 4 nodes"]),
        (("--batch-per-node", "40000000"), ["processor.memory.capacity", "what fits: --batch-per-node"]),
        (("--strategy", "tensor=3", "--nodes", "4"), ["tensor=3", "multiple of 3 ranks"]),
        (("--strategy", "tensr=3"), ["--strategy", "tensr", "tensor"]),
    ],
)
def test_bad_input_is_one_clear_message(tiny: str, arguments: tuple[str, ...], words: list[str]) -> None:
    result = CliRunner().invoke(main, ["predict", tiny, "--target", "training", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sensitivity", "chips"), "'chips' is not one of 'network', 'chip'"),
        (("--sensitivity", "chip", "--target", "inference"), "--sensitivity is about training"),
    ],
)
def test_what_would_relieve_is_asked_of_training(tiny: str, arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(main, ["predict", tiny, *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_all_problems_at_once(tiny: str) -> None:
    with pytest.raises(BadInput) as caught:
        points(tiny, nodes=(0, 50000))
    assert len(caught.value.problems) == 2


def test_a_planner_asks_on_the_command_line(tiny: str) -> None:
    command = ("predict", tiny, "--nodes", "1,16,4096")
    table, data = in_own_process(*command), taihusim(*command, "--json")
    assert table.returncode == data.returncode == 0
    result = json.loads(data.stdout)
    assert [point["nodes"] for point in result["points"]] == [1, 16, 4096]
    assert (table.stderr, data.stderr) == ("", "")
    for words in ("training of tiny", "inference of tiny", "4,096 nodes: ", "memory per core group", "extrapolated"):
        assert words in table.stdout


def test_a_model_file_is_timed_in_training_and_in_inference(tmp_path: Path) -> None:
    """Its file has no loss, data or recipe: a loss is taken for its output, and no training has an end."""
    nodes = [node("Conv", "x w", "c"), node("GlobalMaxPool", "c", "p"), node("Flatten", "p")]
    weights = {"w": np.ones((10, 1, 3, 3), dtype=np.float32)}
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, {"x": ("samples", 1, "height", 8)}, weights).SerializeToString())
    result = json_of("predict", str(path), "--nodes", "1,16", "--shape", "height=8")
    assert result["workload"] == "net"
    one, many = result["points"]
    assert (one["global_batch"], many["global_batch"]) == (32, 512)
    assert one["seconds_per_step"] > result["inference"][0]["seconds_per_batch"]
    assert one["seconds_to_train"] is one["seconds_per_epoch"] is None
    refused = taihusim("predict", str(path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "height" in refused.stderr


def test_numbers_and_a_figure_are_written(tiny: str, tmp_path: Path) -> None:
    done = taihusim("predict", tiny, "--nodes", "1,64", "--noise", "--out", str(tmp_path / "out"))
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predict.json", "predict.png"]
    assert [point["nodes"] for point in json.loads((tmp_path / "out" / "predict.json").read_text())["points"]] == [
        1,
        64,
    ]
    assert (tmp_path / "out" / "predict.png").read_bytes().startswith(b"\x89PNG")
    refused = taihusim("predict", tiny, "--out", str(tmp_path / "out" / "predict.json"))
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_predictor_times_what_it_knows_once(tiny: str) -> None:
    predictor = Predictor(steps_of(tiny))
    assert predictor.training(64) is predictor.training(64)
