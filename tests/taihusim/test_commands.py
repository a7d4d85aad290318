"""The real command line of ``train`` and ``infer``: what is printed, what is written, what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from taihusim.cli import COMMANDS
from taihusim.setup import prepare
from taihusim.train import train
from taihusim.training_run import TrainRequest
from tests.taihusim.command import ROOT, in_own_process, json_of, refused, taihusim
from tests.taihusim.tiny import tiny_workload
from workloads.checkpoint import load_weights, weights_sha256
from workloads.record import load_record, without_host_times

INTERRUPTED = """
import os, signal, sys
from taihusim.cli import main
from workloads.training import Trainer

step = Trainer.step

def third_step_brings_the_signal(trainer, state):
    if state.step == 2:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    step(trainer, state)

Trainer.step = third_step_brings_the_signal
main(sys.argv[2:], prog_name="taihusim")
"""
"""The command line, interrupted at the same place each time: the signal's name, then the arguments."""
RECORDS = ROOT / "docs" / "records.md"


def documented(heading: str) -> list[str]:
    """The fields of a table of docs/records.md: the names in backquotes in its first column."""
    section = RECORDS.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@dataclass(frozen=True)
class Finished:
    """A training run of the command line on 1 and 4 nodes, and its folder."""

    workload: str
    folder: Path
    output: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = tmp_path_factory.mktemp("finished")
    workload = tiny_workload(place)
    done = in_own_process("train", workload, "--nodes", "1,4", "--epochs", "2", "--out", str(place / "out"))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return Finished(workload, place / "out", done.stdout)


@pytest.mark.slow
class TestTrain:
    def test_one_json_object_with_every_documented_field(self, finished: Finished) -> None:
        done = taihusim("train", finished.workload, "--nodes", "1,4", "--epochs", "2", "--json")
        assert done.returncode == 0
        result = json.loads(done.stdout)
        assert {"workload", "machine", "seed", "runs"} <= set(result)
        assert (result["workload"], result["machine"], result["seed"]) == ("tiny", "sunway_taihulight", 0)
        fields = documented("`result` of `train`")
        assert {"nodes", "core_groups", "curve", "host_seconds_numerics"} <= set(fields)
        for run in result["runs"]:
            assert set(fields) <= set(run)
            assert set(run["curve"][0]) == {"seconds", "samples", "loss", "accuracy", "measured"}
        assert [run["cores"] for run in result["runs"]] == [260, 1040]
        # the same run as the one that left the record, whose result is the same object
        record = load_record(finished.folder / "train.json")
        assert without_host_times(record.result) == without_host_times(result)

    def test_a_plain_table_where_nobody_watches(self, finished: Finished) -> None:
        lines = finished.output.splitlines()
        assert lines[0] == "tiny on sunway_taihulight, simulated time"
        assert lines[1].split()[:3] == ["nodes", "cores", "batch"]
        assert lines[2].split()[:4] == ["1", "260", "16", "8"]
        assert lines[3].split()[:4] == ["4", "1,040", "64", "2"]
        assert len(lines[1]) == len(lines[2]) == len(lines[3])
        assert finished.output.isascii()
        assert "\x1b" not in finished.output
        for name in ("train.json", "weights.npz", "figure.png"):
            assert f"wrote {finished.folder / name}" in lines

    def test_a_folder_with_record_weights_and_figure(self, finished: Finished) -> None:
        assert {path.name for path in finished.folder.iterdir()} == {"train.json", "weights.npz", "figure.png"}
        record = load_record(finished.folder / "train.json")
        assert (record.kind, record.seed) == ("train", 0)
        assert record.machine["network"]["nodes"] == 40960
        assert record.workload["title"] == "Tiny"
        assert record.mapping["collective"] == "halving_doubling"
        weights = load_weights(finished.folder / "weights.npz")
        assert weights_sha256(weights) == record.result["runs"][-1]["weights_sha256"]
        assert (finished.folder / "figure.png").read_bytes().startswith(b"\x89PNG")

    def test_the_same_command_leaves_the_same_files(self, finished: Finished, tmp_path: Path) -> None:
        arguments = ["train", finished.workload, "--nodes", "1,4", "--epochs", "2", "--out", str(tmp_path / "again")]
        assert in_own_process(*arguments).returncode == 0
        for name in ("weights.npz", "figure.png"):
            assert (tmp_path / "again" / name).read_bytes() == (finished.folder / name).read_bytes()
        records = [json.loads((place / "train.json").read_text()) for place in (finished.folder, tmp_path / "again")]
        texts = [json.dumps(without_host_times(record)) for record in records]
        assert texts[0] == texts[1]

    def test_flags_reach_the_mapping_and_the_recipe(self, finished: Finished) -> None:
        flags = ["--dtype", "fp32", "--ranks-per-node", "4", "--collective", "ring", "--optimizer", "adam"]
        flags += ["--batch-per-node", "32", "--epochs", "1", "--nodes", "2", "--numerics", "off"]
        arguments = ["train", finished.workload, *flags, "--set", "mapping.overlap=false"]
        (run,) = json_of(*arguments)["runs"]
        assert (run["global_batch"], run["steps"], run["final_loss"]) == (64, 1, None)
        assert run["shares"]["communication_exposed"] > 0
        setup = prepare(
            workload=finished.workload,
            mapping_flags=[
                "precision=fp32", "ranks_per_node=4", "collective=ring", "batch_per_node=32", "numerics=off",
                "overlap=false",
            ],
            optimizer="adam",
        )  # fmt: skip
        (expected,) = train(setup, TrainRequest(nodes=(2,), epochs=1))
        assert run["seconds_per_step"] == expected.result["seconds_per_step"]
        assert run["shares"] == expected.result["shares"]

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
    def test_an_interrupted_run_is_taken_up_again(self, finished: Finished, tmp_path: Path, name: str) -> None:
        """The signal comes during the third of eight steps; with --resume the two parts are the whole run."""
        arguments = ["train", finished.workload, "--epochs", "2", "--out", str(tmp_path)]
        command = [sys.executable, "-c", INTERRUPTED, name, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (130, "")
        assert "Traceback" not in done.stderr
        assert "step 3" in done.stderr
        assert f"--out {tmp_path} --resume" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_1.npz"]
        done = taihusim(*arguments, "--resume", "--json")
        assert done.returncode == 0
        (resumed,) = json.loads(done.stdout)["runs"]
        whole = load_record(finished.folder / "train.json").result["runs"][0]
        assert without_host_times(resumed) == without_host_times(whole)
        # a finished run leaves no checkpoint behind
        assert {path.name for path in tmp_path.iterdir()} == {"train.json", "weights.npz", "figure.png"}


@pytest.mark.slow
class TestInfer:
    def test_trained_weights(self, finished: Finished, tmp_path: Path) -> None:
        weights = ["--weights", str(finished.folder / "weights.npz")]
        done = taihusim("infer", finished.workload, "--nodes", "1,40960", *weights, "--out", str(tmp_path), "--json")
        assert (done.returncode, done.stderr) == (0, "")
        result = json.loads(done.stdout)
        assert {"workload", "machine", "outputs", "points"} <= set(result)
        fields = documented("`result` of `infer`")
        assert {"batch", "latency_p99"} <= set(fields)
        for point in result["points"]:
            assert set(fields) <= set(point)
        assert [point["cores"] for point in result["points"]] == [260, 10_649_600]
        assert result["outputs"] == str(tmp_path / "outputs.npy")
        outputs = np.load(tmp_path / "outputs.npy")
        assert outputs.shape == (30, 10)
        trained = load_record(finished.folder / "train.json").result["runs"][-1]
        assert result["test_accuracy"] == trained["test_accuracy"]
        assert load_record(tmp_path / "infer.json").result == result
        assert {path.name for path in tmp_path.iterdir()} == {"outputs.npy", "infer.json"}

    def test_a_table_says_when_weights_are_fresh(self, finished: Finished) -> None:
        done = taihusim("infer", finished.workload)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == "inference of tiny on sunway_taihulight, simulated time"
        assert lines[2].split()[:3] == ["1", "260", "16"]
        assert "untrained weights (give --weights" in lines[-1]


LDM = "processor.cpe.ldm"
REFUSALS: dict[str, tuple[list[str], list[str]]] = {
    "misspelt key": (["--set", "machine.processor.cpe.lmd=64KiB"], [f"did you mean '{LDM}'?"]),
    "missing unit": (["--set", "machine.processor.cpe.ldm=64"], [LDM, "the unit is missing", "found 64"]),
    "negative bandwidth": (
        ["--set", "machine.processor.memory.bandwidth=-34 GB/s"],
        ["processor.memory.bandwidth", "above zero", "-34 GB/s"],
    ),
    "too many nodes": (["--nodes", "50000"], ["--nodes", "1 to 40,960 nodes on sunway_taihulight", "found 50000"]),
    "no number of nodes": (["--nodes", "1,many"], ["--nodes", "1,16,256", "found 'many'"]),
    "accuracy without numerics": (
        ["--numerics", "off", "--until-accuracy", "0.9"],
        ["--until-accuracy", "--epochs instead", "found 0.9"],
    ),
    "recipe's accuracy without numerics": (["--numerics", "off"], ["recipe.until_accuracy", "--epochs instead"]),
    "tile too large": (
        ["--optimizer", "adam", "--set", "machine.processor.cpe.ldm=448B"],
        [LDM, "at least 512 B", "adam", "the optimiser's update", "found '448 B'"],
    ),
    "unknown collective": (["--collective", "rign"], ["collective", "did you mean 'ring'?"]),
    "unequal shares": (["--global-batch", "64", "--nodes", "3"], ["global_batch", "a multiple of the 3 nodes"]),
    "both batches": (["--global-batch", "64", "--batch-per-node", "4"], ["only one of the two"]),
    "too few samples for four ranks": (
        ["--ranks-per-node", "4", "--batch-per-node", "2"],
        ["a multiple of the 4 ranks of a node", "found 2"],
    ),
}


class TestRefusals:
    def test_the_process_ends_as_bad_input_does(self) -> None:
        done = in_own_process("train", "digits", "--nodes", "50000,1,0")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == refused("train", "digits", "--nodes", "50000,1,0")

    @pytest.mark.parametrize("case", REFUSALS)
    def test_one_clear_message_and_nothing_written(self, case: str, tmp_path: Path) -> None:
        arguments, words = REFUSALS[case]
        lines = refused("train", "digits", *arguments, "--out", str(tmp_path / "out"))
        assert len(lines) == 1
        for each in words:
            assert each in lines[0]
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("command", ["train", "infer"])
    def test_an_unknown_workload(self, command: str, tmp_path: Path) -> None:
        (line,) = refused(command, "digit", "--out", str(tmp_path / "out"))
        assert "did you mean 'digits'?" in line
        assert not (tmp_path / "out").exists()

    def test_a_misspelt_key_of_a_workload_file(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text("extends: digits\nrecipe:\n  batch_per_nod: 8\n")
        (line,) = refused("train", str(file), "--out", str(tmp_path / "out"))
        assert line.startswith(f"{file}:3: recipe.batch_per_nod: ")
        assert "did you mean 'recipe.batch_per_node'?" in line
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("command", ["train", "infer"])
    def test_data_that_are_not_there(self, command: str, tmp_path: Path) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text("extends: digits\ndata: {dataset: archive, path: gone.npz}\n")
        (line,) = refused(command, str(file), "--out", str(tmp_path / "out"))
        assert line == f"{tmp_path / 'gone.npz'}: expected a file that exists"
        assert not (tmp_path / "out").exists()

    def test_files_and_weights_that_are_not_there(self, tmp_path: Path) -> None:
        (line,) = refused("train", str(tmp_path / "gone.yaml"))
        assert line == f"{tmp_path / 'gone.yaml'}: expected a file that exists"
        (line,) = refused("infer", "digits", "--weights", str(tmp_path / "gone.npz"))
        assert line == f"{tmp_path / 'gone.npz'}: expected a file that exists"

    def test_all_problems_of_the_three_nouns_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text("extends: digits\nrecipe: {max_stepz: 5}\ndata: {split: {train: -1}}\n")
        settings = ["machine.processor.cpe.lmd=64KiB", "machine.processor.cpe.ldm=64", "mapping.colective=ring"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        lines = refused("train", str(file), *arguments, "--out", str(tmp_path / "out"))
        assert len(lines) == 5
        for words in ("processor.cpe.lmd", "unit is missing", "max_stepz", "data.split.train", "colective"):
            assert len([line for line in lines if words in line]) == 1, words
        assert not (tmp_path / "out").exists()

    def test_every_wrong_node_count_at_once(self) -> None:
        lines = refused("train", "digits", "--nodes", "50000,1,0")
        assert [line.rpartition(" ")[2] for line in lines] == ["50000", "0"]

    @pytest.mark.parametrize("command", ["train", "infer"])
    def test_a_file_in_the_place_of_the_folder(self, command: str, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("mine")
        for place in (tmp_path / "taken", tmp_path / "taken" / "deeper"):
            (line,) = refused(command, "digits", "--out", str(place))
            assert line.startswith(f"--out {place}: expected a folder")
        assert (tmp_path / "taken").read_text() == "mine"

    def test_nodes_batch_and_goal_are_wrong_together(self) -> None:
        wrong = ["--nodes", "50000", "--numerics", "off", "--batch-per-node", "3", "--ranks-per-node", "4"]
        lines = refused("train", "digits", *wrong)
        assert [line.partition(":")[0] for line in lines] == ["--nodes", "--batch-per-node", "workload digits"]

    def test_resume_needs_the_folder(self) -> None:
        (line,) = refused("train", "digits", "--resume")
        assert line == "--resume: expected --out, the folder of the run"

    def test_click_refuses_in_the_same_manner(self) -> None:
        for arguments, words in (
            (["--epochs", "0"], "--epochs"),
            (["--until-accuracy", "97"], "--until-accuracy"),
            (["--numerics", "tiles"], "'tile'"),
            (["--ranks-per-node", "2"], "'4'"),
        ):
            assert words in refused("train", "digits", *arguments)[-1]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_gives_an_example_at_once(command: str | None) -> None:
    """Within half a second of processor time, which does not depend on what else the computer does."""
    arguments = [*([command] if command else []), "--help"]
    before = os.times()
    done = in_own_process(*arguments)
    after = os.times()
    assert (done.returncode, done.stderr) == (0, "")
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    assert spent < 0.5
    assert re.search(r"Examples?:", done.stdout)
    assert re.search(rf"^(  Example:)? +taihusim {command or 'machine'} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("nodes", ["", ",", "1_0", "1.5", "nan", "1e3", "\u0663", "9" * 30])
def test_what_is_no_number_of_nodes(nodes: str) -> None:
    (line,) = refused("predict", "digits", "--nodes", nodes)
    assert line.startswith("--nodes: expected numbers of nodes such as 1,16,256, found")


def test_samples_in_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(bytes(range(256)))
    (line,) = refused("infer", "digits", "--input", str(tmp_path / "x.npy"))
    assert line.endswith("expected a whole .npy file (it is of another kind)")


@pytest.mark.parametrize(
    "command", [("predict",), ("infer",), ("compare", "--machines", "sunway_taihulight,k40m_node")]
)
def test_lengths_of_axes_that_no_file_leaves_open(command: tuple[str, ...]) -> None:
    (line,) = refused(command[0], "digits", *command[1:], "--shape", "width=3")
    assert line.startswith("--shape: expected an ONNX file as WORKLOAD")
