"""``train``: numbers and times of one execution, whichever way the numbers are computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.machine.load import load_machine
from sim.power.energy import full_load_watts, idle_watts
from sim.problems import BadInput
from taihusim.node_counts import node_counts
from taihusim.options import Settings
from taihusim.run_folder import RunFolder
from taihusim.setup import Setup, prepare
from taihusim.train import train
from taihusim.training_run import Reached, TrainedRun, TrainRequest
from tests.taihusim.tiny import CONVOLUTION, tiny_workload
from workloads.checkpoint import load_weights, weights_sha256
from workloads.record import without_host_times
from workloads.training import Goal

HOST = ("host_seconds_timing", "host_seconds_numerics")
NUMBERS = (
    "measure",
    "measured",
    "storage_bytes_per_sample",
    "final_loss",
    "test_accuracy",
    "curve",
    "weights_sha256",
    "reduction_order",
    "reached",
    "seconds_to_target",
)
"""Fields that only numerics give."""


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("convolution"), layers=CONVOLUTION)


def setup_of(workload: str, *mapping: str, settings: Sequence[str] = (), optimizer: str | None = None) -> Setup:
    return prepare(
        workload=workload,
        settings=Settings(workload=tuple(settings)),
        mapping_flags=mapping,
        **({} if optimizer is None else {"optimizer": optimizer}),
    )


def trained(setup: Setup, *nodes: int, **request: Any) -> list[TrainedRun]:
    return train(setup, TrainRequest(nodes=nodes or (1,), **request))


class Steps:
    """Watches: the number of every step that was done, and of nodes of every run."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.nodes: list[int] = []

    def step(self, nodes: int, reached: Reached, goal: Goal) -> None:
        self.steps.append(reached.step)

    def run(self, result: Mapping[str, Any]) -> None:
        self.nodes.append(result["nodes"])


def predicted(run: TrainedRun) -> dict[str, Any]:
    """What the simulated machine says, without what only numerics give."""
    return {name: value for name, value in run.result.items() if name not in (*HOST, *NUMBERS)}


def check_same_numbers(found: TrainedRun, expected: TrainedRun, tolerance: float) -> None:
    assert found.parameters is not None
    assert expected.parameters is not None
    assert found.result["final_loss"] == pytest.approx(expected.result["final_loss"], rel=tolerance)
    assert found.result["test_accuracy"] == expected.result["test_accuracy"]
    for name, array in expected.parameters.items():
        assert np.abs(found.parameters[name] - array).max() <= tolerance * np.abs(array).max(), name


class TestNumerics:
    @pytest.mark.numeric
    @pytest.mark.parametrize("nodes", [1, 2])
    def test_tiles_layers_and_nothing_take_the_same_time(self, convolution: str, nodes: int) -> None:
        tile, layer, off = (
            trained(setup_of(convolution, f"numerics={numerics}"), nodes, epochs=1)[0]
            for numerics in ("tile", "layer", "off")
        )
        assert predicted(tile) == predicted(layer) == predicted(off)
        assert tile.result["steps"] == 4 // nodes
        check_same_numbers(tile, layer, 1e-9)
        assert off.parameters is off.result["final_loss"] is off.result["weights_sha256"] is None
        assert off.result["curve"] == []

    @pytest.mark.numeric
    @pytest.mark.slow
    def test_an_epoch_of_digits_in_the_tiles(self) -> None:
        tile, layer = (trained(setup_of("digits", f"numerics={each}"), epochs=1)[0] for each in ("tile", "layer"))
        assert tile.result["steps"] == 90
        assert predicted(tile) == predicted(layer)
        check_same_numbers(tile, layer, 1e-9)

    def test_without_numerics_there_is_no_accuracy_to_wait_for(self, linear: str) -> None:
        setup = setup_of(linear, "numerics=off")
        with pytest.raises(BadInput, match="--epochs instead") as caught:
            trained(setup)
        (problem,) = caught.value.problems
        assert (problem.key, problem.value) == ("recipe.until_accuracy", 0.6)
        with pytest.raises(BadInput, match="--until-accuracy: expected --epochs instead"):
            trained(setup, until_accuracy=0.9)

    @pytest.mark.numeric
    def test_single_precision_is_close_and_takes_another_time(self, convolution: str) -> None:
        double, single = (trained(setup_of(convolution, f"precision={each}"), epochs=1)[0] for each in ("fp64", "fp32"))
        assert single.parameters is not None
        assert {array.dtype for array in single.parameters.values()} == {np.dtype(np.float32)}
        check_same_numbers(single, double, 1e-4)
        assert single.result["seconds_per_step"] != double.result["seconds_per_step"]
        assert single.result["weights_sha256"] != double.result["weights_sha256"]

    @pytest.mark.numeric
    def test_the_order_of_reduction_changes_only_rounding(self, linear: str) -> None:
        runs = [
            trained(setup_of(linear, f"reduction_order={order}"), 3, epochs=2)[0] for order in ("schedule", "pairwise")
        ]
        assert [run.result["reduction_order"] for run in runs] == ["schedule", "pairwise"]
        check_same_numbers(*runs, tolerance=1e-9)
        assert predicted(runs[0]) == predicted(runs[1])

    def test_samples_that_must_repeat_are_computed_once(self, linear: str) -> None:
        """64 images with 9 shifts each: up to 576 different samples, 36 nodes with 16."""
        orders = [trained(setup_of(linear), nodes, epochs=1)[0].result["reduction_order"] for nodes in (36, 37)]
        assert orders == ["schedule", "pairwise"]


class TestResult:
    def test_all_of_the_machine(self, linear: str) -> None:
        (run,) = trained(setup_of(linear, "numerics=off"), 40960, epochs=1)
        assert run.result["cores"] == 10_649_600
        assert run.result["core_groups"] == 163_840
        assert run.result["global_batch"] == 655_360
        assert run.result["steps"] == 1

    def test_efficiency_is_samples_per_second_and_core_against_one_node(self, linear: str) -> None:
        alone, many = (run.result for run in trained(setup_of(linear, "numerics=off"), 1, 64, epochs=1))
        assert alone["efficiency"] == 1
        per_core = [run["global_batch"] / run["seconds_per_step"] / run["cores"] for run in (alone, many)]
        assert many["efficiency"] == pytest.approx(per_core[1] / per_core[0], rel=1e-12)
        assert many["efficiency"] < 1

    def test_efficiency_of_a_shared_batch_is_against_the_whole_batch_on_one_node(self, linear: str) -> None:
        """Strong scaling: the same samples a step, so efficiency is speed-up per node."""
        setup = setup_of(linear, "numerics=off", "global_batch=64")
        alone, four = (run.result for run in trained(setup, 1, 4, epochs=1))
        assert alone["global_batch"] == four["global_batch"] == 64
        speedup = alone["seconds_per_step"] / four["seconds_per_step"]
        assert four["efficiency"] == pytest.approx(speedup / 4, rel=1e-12)

    def test_efficiency_is_not_known_where_one_node_has_no_room(self, linear: str) -> None:
        """1,024 samples of 64 pixels on each core group are 512 KiB already; on 64 nodes they are 16 samples."""
        machine = Settings(machine=("processor.memory.capacity=512 KiB",))
        setup = prepare(workload=linear, settings=machine, mapping_flags=["numerics=off", "global_batch=4096"])
        (run,) = trained(setup, 64, epochs=1)
        assert run.result["efficiency"] is None
        assert run.result["seconds_per_step"] > 0
        with pytest.raises(BadInput, match=r"processor\.memory\.capacity: expected at least [^;]+ B\) per core group"):
            trained(setup, 1, epochs=1)

    def test_totals_follow_from_the_step(self, linear: str) -> None:
        (run,) = trained(setup_of(linear), 2, epochs=3)
        result = run.result
        assert result["steps"] == 6  # 3 epochs of 64 samples, 32 a step
        assert result["seconds_total"] == 6 * result["seconds_per_step"]
        machine = load_machine("sunway_taihulight")
        watts = result["energy_joules"] / (2 * result["seconds_total"])
        assert idle_watts(machine) < watts < full_load_watts(machine)
        assert sum(result["energy_joules_by_component"].values()) == pytest.approx(result["energy_joules"], rel=1e-12)
        assert sum(result["shares"].values()) == pytest.approx(1, abs=1e-12)
        assert result["curve"][-1]["seconds"] == result["seconds_total"]
        assert result["curve"][-1]["samples"] == 192
        assert (result["reached"], result["seconds_to_target"]) == (None, None)
        assert result["bottleneck"]

    @pytest.mark.parametrize(("epochs", "steps"), [(0.01, 1), (0.5, 2), (1, 4), (1.4, 6), (2.5, 10)])
    def test_epochs_are_rounded_to_steps(self, linear: str, epochs: float, steps: int) -> None:
        (run,) = trained(setup_of(linear, "numerics=off"), epochs=epochs)
        assert run.result["steps"] == steps

    def test_until_the_accuracy_of_the_recipe_or_of_the_request(self, linear: str) -> None:
        recipe, request = (trained(setup_of(linear), **wanted)[0].result for wanted in ({}, {"until_accuracy": 0.3}))
        assert recipe["reached"] is request["reached"] is True
        assert recipe["test_accuracy"] >= 0.6 > request["test_accuracy"] >= 0.3
        assert recipe["seconds_to_target"] == recipe["seconds_total"] > request["seconds_total"]
        assert recipe["steps"] % 2 == request["steps"] % 2 == 0

    def test_an_accuracy_that_is_out_of_reach(self, linear: str) -> None:
        (run,) = trained(setup_of(linear, settings=["recipe.max_steps=3"]), until_accuracy=1.0)
        assert (run.result["steps"], run.result["reached"], run.result["seconds_to_target"]) == (3, False, None)

    def test_runs_come_in_the_order_asked_for(self, linear: str) -> None:
        runs = trained(setup_of(linear, "numerics=off"), 4, 2, epochs=1)
        assert [run.result["nodes"] for run in runs] == [4, 2]


class TestMapping:
    @pytest.mark.numeric
    def test_four_ranks_per_node_learn_the_same(self, linear: str) -> None:
        one, four = (trained(setup_of(linear, f"ranks_per_node={ranks}"), 2, epochs=2)[0] for ranks in (1, 4))
        assert one.result["global_batch"] == four.result["global_batch"] == 32
        assert one.result["seconds_per_step"] != four.result["seconds_per_step"]
        check_same_numbers(four, one, 1e-9)

    def test_four_ranks_need_four_samples(self, linear: str) -> None:
        setup = setup_of(linear, "ranks_per_node=4", "batch_per_node=6")
        with pytest.raises(BadInput, match="a multiple of the 4 ranks of a node, found 6"):
            trained(setup, epochs=1)

    @pytest.mark.numeric
    @pytest.mark.parametrize("numerics", ["layer", "tile"])
    @pytest.mark.parametrize("optimizer", ["sgd", "lars", "adam"])
    def test_optimisers(self, linear: str, optimizer: str, numerics: str) -> None:
        setup = setup_of(linear, f"numerics={numerics}", optimizer=optimizer)
        (run,) = trained(setup, epochs=1)
        assert np.isfinite(run.result["final_loss"])
        fresh = setup.graph.initialise(np.random.default_rng(0), np.dtype(np.float64))
        assert run.parameters is not None
        for name, array in run.parameters.items():
            assert np.abs(array - fresh[name]).max() > 0, name

    def test_optimisers_differ_in_weights_and_time(self, linear: str) -> None:
        runs = [trained(setup_of(linear, optimizer=name), epochs=1)[0].result for name in ("sgd", "lars", "adam")]
        assert len({run["weights_sha256"] for run in runs}) == 3
        assert len({run["seconds_per_step"] for run in runs}) == 3

    def test_a_larger_batch_on_fewer_nodes(self, linear: str) -> None:
        (run,) = trained(setup_of(linear, "batch_per_node=32"), epochs=1)
        assert (run.result["global_batch"], run.result["steps"]) == (32, 2)


class TestSeeds:
    def saved(self, linear: str, folder: Path, seed: int) -> dict[str, bytes]:
        """The record without host times and the weights, as bytes."""
        setup = setup_of(linear)
        runs = trained(setup, 1, 2, epochs=2, seed=seed)
        result = {"workload": "tiny", "machine": "m", "seed": seed, "runs": [run.result for run in runs]}
        place = RunFolder(path=folder, setup=setup, seed=seed, version="0")
        # the figure is not drawn: it has tests of its own
        place._record("train", result, "train.json")
        record = without_host_times(json.loads((folder / "train.json").read_text()))
        return {"record": json.dumps(record).encode(), "weights": (runs[-1].result["weights_sha256"] or "").encode()}

    def test_the_same_seed_gives_the_same_record_and_another_does_not(self, linear: str, tmp_path: Path) -> None:
        first, again, other = (self.saved(linear, tmp_path / str(n), seed) for n, seed in enumerate((0, 0, 1)))
        assert first == again
        assert first["weights"] != other["weights"]

    def test_the_fingerprint_is_that_of_the_weights(self, linear: str) -> None:
        (run,) = trained(setup_of(linear), epochs=1)
        assert run.parameters is not None
        assert run.result["weights_sha256"] == weights_sha256(run.parameters)


class TestRefusals:
    def test_every_wrong_node_count_is_named(self, linear: str) -> None:
        with pytest.raises(BadInput) as caught:
            trained(setup_of(linear), 0, 1, 50_000)
        assert [problem.value for problem in caught.value.problems] == [0, 50_000]
        assert "1 to 40,960 nodes" in str(caught.value)

    def test_a_shared_batch_must_be_shared_equally(self, linear: str) -> None:
        with pytest.raises(BadInput, match="a multiple of the 3 nodes"):
            trained(setup_of(linear, "global_batch=64"), 3, epochs=1)

    def with_ldm(self, ldm: str) -> list[TrainedRun]:
        settings = Settings(machine=(f"processor.cpe.ldm={ldm}",))
        return trained(prepare(workload="digits", settings=settings, mapping_flags=["numerics=off"]), epochs=1)

    def test_a_machine_whose_ldm_is_too_small_is_told_what_would_do(self) -> None:
        with pytest.raises(BadInput) as caught:
            self.with_ldm("352B")
        for problem, layer in zip(caught.value.problems, ("conv2d1", "conv2d2"), strict=True):
            assert (problem.key, problem.value) == ("processor.cpe.ldm", "352 B")
            # the 3 × 3 taps of one window and the pixels under them, 8 B each, in lines of 32 B, twice
            assert f"at least 384 B for the smallest tile of im2col in layer '{layer}'" in problem.expected

    @pytest.mark.slow
    def test_a_machine_with_the_ldm_that_would_do_trains(self) -> None:
        assert self.with_ldm("384B")

    def test_an_update_whose_tile_does_not_fit_is_told(self, tmp_path: Path) -> None:
        file = tmp_path / "two.yaml"
        layers = "[{type: flatten}, {type: linear, units: 2}]"
        file.write_text(f"extends: digits\nmodel: {{layers: {layers}}}\n")
        settings = Settings(machine=("processor.cpe.ldm=448B",))
        setup = prepare(workload=str(file), settings=settings, optimizer="adam", mapping_flags=["numerics=off"])
        with pytest.raises(BadInput, match=r"at least 512 B for the smallest tile of adam in the optimiser's update"):
            trained(setup, epochs=1)

    def test_node_counts(self) -> None:
        assert node_counts("1,16,256") == (1, 16, 256)
        with pytest.raises(BadInput) as caught:
            node_counts("1,two,3.5")
        assert [problem.value for problem in caught.value.problems] == ["two", "3.5"]


@pytest.mark.numeric
class TestSideBySide:
    def test_no_number_depends_on_how_many_run_at_a_time(self, convolution: str) -> None:
        setup, watch = setup_of(convolution), Steps()
        request = TrainRequest(nodes=(4, 1, 16), epochs=2)
        together = train(setup, request, watch=watch, processes=2)
        alone = train(setup, request)
        assert [run.result["nodes"] for run in together] == [4, 1, 16]
        assert sorted(watch.nodes) == [1, 4, 16]
        assert watch.steps
        for one, other in zip(together, alone, strict=True):
            assert without_host_times(one.result) == without_host_times(other.result)
            assert one.parameters is not None
            assert other.parameters is not None
            for name, array in one.parameters.items():
                np.testing.assert_array_equal(array, other.parameters[name])

    def test_all_runs_under_way_are_kept_when_asked_to_stop(self, linear: str, tmp_path: Path) -> None:
        setup, watch = setup_of(linear), Steps()
        request = TrainRequest(nodes=(1, 2, 4), epochs=10_000, folder=tmp_path)
        with pytest.raises(KeyboardInterrupt) as caught:
            train(setup, request, watch=watch, processes=2, stop=lambda: len(watch.steps) > 8)
        *runs, how = str(caught.value).split("; ")
        assert sorted(run.split(" on ")[1] for run in runs) == ["2 nodes", "4 nodes"]
        assert how == f"go on with --out {tmp_path} --resume"
        assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_2.npz", "checkpoint_4.npz"}
        done = train(setup, TrainRequest(nodes=(1, 2, 4), epochs=3, folder=tmp_path, resume=True), processes=3)
        assert [run.result["nodes"] for run in done] == [1, 2, 4]

    def test_equal_counts_go_one_after_the_other(self, linear: str, tmp_path: Path) -> None:
        first, second = train(setup_of(linear), TrainRequest(nodes=(2, 2), epochs=1, folder=tmp_path), processes=2)
        assert without_host_times(first.result) == without_host_times(second.result)


@pytest.mark.numeric
class TestCheckpoints:
    def test_a_run_goes_on_bit_for_bit(self, linear: str, tmp_path: Path) -> None:
        """Two epochs of eight steps, then on to five: the same as five at once."""
        setup = setup_of(linear)
        trained(setup, 1, epochs=2, folder=tmp_path)
        assert (tmp_path / "checkpoint_1.npz").is_file()
        watch = Steps()
        request = TrainRequest(nodes=(1,), epochs=5, folder=tmp_path, resume=True)
        (resumed,) = train(setup, request, watch=watch)
        (whole,) = trained(setup, epochs=5)
        assert (watch.steps, watch.nodes) == (list(range(9, 21)), [1])
        assert without_host_times(resumed.result) == without_host_times(whole.result)
        assert resumed.parameters is not None
        assert whole.parameters is not None
        for name, array in whole.parameters.items():
            np.testing.assert_array_equal(resumed.parameters[name], array)

    def test_an_interrupted_run_keeps_its_state(self, linear: str, tmp_path: Path) -> None:
        """Asked to stop after the third of twenty steps, between two looks at the test set."""
        setup = setup_of(linear)
        watch = Steps()
        request = TrainRequest(nodes=(2,), epochs=10, folder=tmp_path)
        with pytest.raises(KeyboardInterrupt, match="after step 3"):
            train(setup, request, watch=watch, stop=lambda: len(watch.steps) == 2)
        watch = Steps()
        request = TrainRequest(nodes=(2,), epochs=10, folder=tmp_path, resume=True)
        (resumed,) = train(setup, request, watch=watch)
        (whole,) = trained(setup, 2, epochs=10)
        assert (watch.steps, watch.nodes) == (list(range(4, 21)), [2])
        assert without_host_times(resumed.result) == without_host_times(whole.result)

    def test_a_finished_run_has_nothing_left_to_do(self, linear: str, tmp_path: Path) -> None:
        setup = setup_of(linear)
        (first,) = trained(setup, epochs=2, folder=tmp_path)
        (again,) = trained(setup, epochs=2, folder=tmp_path, resume=True)
        assert without_host_times(again.result) == without_host_times(first.result)
        assert again.result["host_seconds_numerics"] == 0

    def test_without_resume_a_run_begins_anew(self, linear: str, tmp_path: Path) -> None:
        setup = setup_of(linear)
        trained(setup, epochs=2, folder=tmp_path, seed=1)
        (again,) = trained(setup, epochs=1, folder=tmp_path)
        assert without_host_times(again.result) == without_host_times(trained(setup, epochs=1)[0].result)

    def test_a_checkpoint_of_another_run_is_refused_before_any_step(self, linear: str, tmp_path: Path) -> None:
        trained(setup_of(linear), 4, epochs=1, folder=tmp_path)
        watch = Steps()
        request = TrainRequest(nodes=(1, 4), epochs=1, folder=tmp_path, resume=True, seed=1)
        with pytest.raises(BadInput, match=r"checkpoint_4.*a checkpoint of this run"):
            train(setup_of(linear), request, watch=watch)
        assert watch.steps == []

    def test_a_run_may_be_stopped_while_it_is_timed(self, linear: str, tmp_path: Path) -> None:
        request = TrainRequest(nodes=(2,), epochs=10, folder=tmp_path)
        with pytest.raises(KeyboardInterrupt, match="before training"):
            train(setup_of(linear, "numerics=off"), request, stop=lambda: True)

    def test_a_checkpoint_of_another_run_is_refused(self, linear: str, tmp_path: Path) -> None:
        trained(setup_of(linear), epochs=1, folder=tmp_path)
        with pytest.raises(BadInput, match="a checkpoint of this run"):
            trained(setup_of(linear), epochs=1, folder=tmp_path, resume=True, seed=1)
        with pytest.raises(BadInput, match="a checkpoint of this run"):
            trained(setup_of(linear, "batch_per_node=8"), epochs=1, folder=tmp_path, resume=True)

    def test_a_checkpoint_holds_the_weights(self, linear: str, tmp_path: Path) -> None:
        (run,) = trained(setup_of(linear), epochs=1, folder=tmp_path)
        assert weights_sha256(load_weights(tmp_path / "checkpoint_1.npz")) == run.result["weights_sha256"]
