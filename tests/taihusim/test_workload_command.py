"""``taihusim workload``: lists, tables and what is refused, on the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.nnlib.importers.graphs import model, node, saved
from tests.taihusim.command import json_of, refused, taihusim
from workloads.load import list_workloads


def test_a_network_layer_by_layer() -> None:
    done = taihusim("workload", "show", "digits", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert (shown["parameters"], shown["multiply_accumulates"]) == (13_706, 91_776)
    assert shown["inputs"] == {"input": [8, 8, 1]}
    assert shown["outputs"] == {"linear2": [10]}
    first = shown["layers"][0]
    assert (first["layer"], first["kind"], first["shape"], first["parameters"]) == (
        "conv2d1",
        "conv2d",
        [8, 8, 16],
        160,
    )
    assert first["activation_bytes"] == 8 * 8 * 16 * 4
    assert sum(layer["parameters"] for layer in shown["layers"]) == shown["parameters"]
    assert shown["training_bytes_per_core_group"] > shown["inference_bytes_per_core_group"] > 4 * 13_706


def test_totals_stand_below_the_table() -> None:
    done = taihusim("workload", "show", "lenet5", "--batch", "16", "--precision", "fp64")
    assert done.returncode == 0
    total = next(line for line in done.stdout.splitlines() if line.startswith("all layers"))
    assert "61,706" in total
    assert "416.5 k" in total
    assert "16 samples" in done.stdout.splitlines()[-1]


def test_a_model_file_is_shown_over_the_axes_that_it_leaves_open(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "c"), node("GlobalMaxPool", "c", "p"), node("Flatten", "p")]
    weights = {"w": np.ones((10, 1, 3, 3), dtype=np.float32)}
    file = str(saved(tmp_path, model(nodes, {"x": ("samples", 1, 8, "width")}, weights)))
    shown = json_of("workload", "show", file, "--shape", "width=8")
    assert (shown["workload"], shown["parameters"]) == ("model", 90)
    assert shown["multiply_accumulates"] == 6 * 6 * 10 * 9
    assert shown["training_bytes_per_core_group"] > shown["inference_bytes_per_core_group"]
    assert "--shape width=LENGTH" in refused("workload", "show", file)[-1]
    assert "ONNX file" in refused("workload", "show", "digits", "--shape", "width=8")[-1]
    assert "--shape is for networks" in refused("workload", "show", "hpl", "--shape", "width=8")[-1]


@pytest.mark.parametrize("command", ["workload show", "predict"])
def test_a_model_file_has_no_recipe_to_change(command: str, tmp_path: Path) -> None:
    file = str(saved(tmp_path, model([node("Flatten", "x")], {"x": ("samples", 8)}, {})))
    changes = ("--set", "workload.recipe.max_steps=3", "--set", "workload.title=a")
    said = refused(*command.split(), file, *changes)
    assert [line.split(":")[0] for line in said[-2:]] == [f"--set {each}" for each in changes[1::2]]
    assert "neither data nor recipe" in said[-1]


def test_programs_show_their_size_and_their_choices() -> None:
    shown = json_of("workload", "show", "hpl")
    assert (shown["order"], shown["nodes"], shown["grid_rows"], shown["grid_columns"]) == (12_288_000, 40_960, 256, 640)
    assert shown["flops"] == pytest.approx(2 / 3 * 12_288_000**3, rel=1e-6)
    assert shown["matrix_bytes"] / 40_960 < shown["memory_bytes_per_node"] < 4 * 2**33
    assert shown["mapping"]["broadcast"] == "long"
    assert shown["other_choices"]["rows"] == [128, 320]
    said = taihusim("workload", "show", "hpl", "--set", "workload.mapping.process=node").stdout
    assert "128 x 320" in said
    cg = json_of("workload", "show", "hpcg", "--set", "workload.points=[16, 32, 16]", "--set", "workload.levels=2")
    assert cg["levels"] == [[16, 32, 16], [8, 16, 8]]
    # two symmetric sweeps, residual and product; on the coarser grid one symmetric sweep; three sums and products
    assert cg["flops_per_iteration_per_node"] == 4 * (8192 * (27 * 2 * (2 * 2 + 1 + 1) + 12) + 1024 * 27 * 2 * 2)
    assert "--batch is for networks" in refused("workload", "show", "hpcg", "--batch", "3")[-1]


def test_a_workflow_shows_its_fields() -> None:
    shown = json_of("workload", "show", "climate", "--set", "workload.windows=[1, 2]")
    assert (shown["field"], shown["points_per_core_group"], shown["steps"]) == ([48, 48, 16], [48, 96], 50)
    assert shown["field_bytes_per_core_group"] == 2 * 48 * 96 * 16 * 8
    assert shown["stable_wind"] == pytest.approx(23)


@pytest.mark.slow
def test_the_list_has_every_workload() -> None:
    done = taihusim("workload", "list", "--json")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    rows = {row["workload"]: row for row in shown["workloads"]}
    assert tuple(rows) == list_workloads()
    assert [row["program"] for row in shown["programs"]] == ["climate", "hpcg", "hpl"]
    assert rows["resnet50"]["parameters"] == 25_557_032


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    done = taihusim("workload", "show", "resnet5")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'resnet50'" in done.stderr
    assert "Traceback" not in done.stderr
