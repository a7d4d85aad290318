"""``infer climate``: steps of the core and what its network says of the fields then, by one command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnlib.kernels.grids.weather_step import WeatherStep
from taihusim.setup import prepare
from tests.taihusim.command import in_own_process, json_of, refused, taihusim
from workloads.checkpoint import save_weights
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.files import load_program
from workloads.hpc.numerics import Floats
from workloads.hpc.weather import Weather

SMALL = ["--set", "workload.windows=[1, 1]"]


def weights(folder: Path) -> Path:
    """Weights as a training run leaves them, fresh here: they are the same everywhere."""
    path = folder / "weights.npz"
    save_weights(prepare(workload="storms").model.initialise(np.random.default_rng(3), np.dtype(np.float32)), path)
    return path


@pytest.mark.slow
@pytest.mark.numeric
def test_before_any_step_it_finds_what_the_network_finds(tmp_path: Path) -> None:
    """A core group has a field of the test set: looked at as they are, they are the test set of four."""
    given = ["--weights", str(weights(tmp_path)), "--precision", "fp64"]
    alone = json_of("infer", "storms", *given, "--set", "workload.data.split.test=4")
    still = json_of("infer", "climate", *given, *SMALL, "--set", "workload.steps=0")
    assert still["measure"] == alone["measure"] == "mean_iou"
    assert still["measured"] == pytest.approx(alone["measured"], abs=1e-12)
    assert still["computed"]["fields"] == 4
    assert still["computed"]["halo_bytes"] == 0


@pytest.mark.slow
@pytest.mark.numeric
def test_it_steps_and_looks_in_a_process_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "run"
    steps = ["--set", "workload.steps=5", "--weights", str(weights(tmp_path)), "--out", str(out)]
    done = in_own_process("infer", "climate", "--nodes", "1,40960", *SMALL, *steps, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    predicted = json_of("predict", "climate", "--nodes", "1,40960", *SMALL, "--set", "workload.steps=5")
    for point, other in zip(result["points"], predicted["points"], strict=True):
        assert point | other == point  # the time does not depend on whether numbers are computed
        assert point["latency_p50"] == point["seconds_per_batch"] == point["seconds_in_place"]
        assert point["batch"] == 4
    assert result["points"][0]["efficiency"] == 1 > result["points"][1]["efficiency"]
    run = result["computed"]
    assert (run["nodes"], run["processes"], run["grid_rows"], run["grid_columns"], run["steps"]) == (1, 4, 96, 96, 5)
    # four sides of 48 points, 16 numbers of eight bytes, from each of four processes in each step
    assert run["halo_bytes"] == 5 * 4 * 4 * 48 * 16 * 8
    assert sum(run["class_shares"]) == pytest.approx(1)
    assert 0 < result["measured"] < 1
    arrays = _arrays(Path(result["outputs"]))
    assert arrays["classes"].mean() == pytest.approx(run["class_shares"][1])
    record = json.loads((out / "infer.json").read_text())
    assert record["workload"]["name"] == "storms"
    assert record["workload"]["program"]["steps"] == 5
    # one process with the whole globe steps to the same fields
    setup = prepare(workload="storms")
    start = taihusim("infer", "climate", *SMALL, "--set", "workload.steps=0", "--out", str(tmp_path / "start"))
    assert start.returncode == 0
    core = Weather(
        kernel=_core(96, 96), grid=(1, 1), processor=setup.machine.processor, globe=_fields(tmp_path / "start")
    )
    for _ in range(5):
        core.step()
    np.testing.assert_array_equal(arrays["fields"], core.whole())


@pytest.mark.slow
def test_given_fields_are_where_it_begins(tmp_path: Path) -> None:
    np.save(tmp_path / "still.npy", np.zeros((1, 48, 48, 16)))
    given = ["--input", str(tmp_path / "still.npy"), "--set", "workload.steps=3", "--out", str(tmp_path / "run")]
    said = taihusim("infer", "climate", *SMALL, *given)
    assert said.returncode == 0, said.stderr
    assert "IoU" not in said.stdout  # nobody knows what is where
    assert not _fields(tmp_path / "run").any()  # air at rest stays at rest
    off = json_of("infer", "climate", *SMALL, "--numerics", "off")
    assert (off["computed"], off["outputs"], off["measured"]) == (None, None, None)
    assert off["points"][0]["seconds_per_batch"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nodes", "64"], "--numerics: expected off for more than 1,500,000 points, or fewer nodes or windows"),
        (["--nodes", "50000"], "--nodes: expected 1 to 40,960 nodes"),
        (["--batch-per-node", "8"], "--batch-per-node: expected nothing: --set workload.windows=[ROWS,COLUMNS]"),
        (["--ranks-per-node", "4", "--strategy", "tensor=2"], "--strategy: expected data"),
        (["--set", "workload.network=alexnet_bn", *SMALL], "network: expected a network that says of every point"),
        (["--set", "workload.steps=-1"], "steps: expected"),
        (["--shape", "h=3"], "--shape is for model files"),
    ],
)
def test_refused(arguments: list[str], said: str) -> None:
    assert any(said in line for line in refused("infer", "climate", *arguments))


def _core(rows: int, columns: int) -> WeatherStep:
    workload = load_program("climate")
    assert isinstance(workload, ClimateWorkload)
    return WeatherStep(rows, columns, 16, workload.dynamics)


def _arrays(path: Path) -> dict[str, Floats]:
    with np.load(path) as file:
        return dict(file)


def _fields(folder: Path) -> Floats:
    return _arrays(folder / "outputs.npz")["fields"]
