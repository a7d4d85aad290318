"""Models in ONNX files on the command line: answers, training, and what is refused, in processes of their own."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.nnlib.importers.graphs import model, node, runtime_outputs, saved
from tests.taihusim import command
from tests.taihusim.command import Done

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(4)
SIDE, CLASSES = 8, 3
WORKLOAD = """\
title: Stripes
model:
  file: model.onnx
  loss: {type: cross_entropy}
data:
  dataset: archive
  path: images.npz
  split: {train: 72, test: 24, seed: 0}
recipe:
  batch_per_node: 12
  optimizer: {name: sgd, momentum: 0.9}
  learning_rate: {base: 0.1, at_batch: 12, scaling: none, cap: null, warmup_steps: 0, schedule: constant}
  weight_decay: 0.0
  until_accuracy: null
  max_steps: 18
  evaluate_every: 1
"""


def normal(*shape: int) -> Any:
    return (RNG.normal(size=shape) * 0.3).astype(np.float32)


def network(batch: int | str = "N", side: int | str = SIDE) -> onnx.ModelProto:
    """A convolution with batch normalisation, pooling, and a linear layer."""
    weights = {
        "w": normal(4, 1, 3, 3),
        "s": np.ones(4, dtype=np.float32),
        "b": normal(4),
        "m": normal(4),
        "v": np.ones(4, dtype=np.float32),
        "l": normal(CLASSES, 4),
        "c": normal(CLASSES),
    }
    nodes = [
        node("Conv", "x w", "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "conv s b m v", "normal"),
        node("Relu", "normal", "rectified"),
        node("GlobalAveragePool", "rectified", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat l c", transB=1),
    ]
    return model(nodes, {"x": (batch, 1, side, side)}, weights)


def taihusim(folder: Path, *arguments: str) -> Done:
    with chdir(folder):
        return command.taihusim(*arguments)


def images(count: int) -> Any:
    return RNG.normal(size=(count, 1, SIDE, SIDE)).astype(np.float32)


@pytest.mark.numeric
def test_answers_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    proto, x = network(), images(5)
    saved(tmp_path, proto)
    np.save(tmp_path / "x.npy", x)
    arguments = ("infer", "model.onnx", "--input", "x.npy", "--out", "run", "--precision", "fp32")
    done = taihusim(tmp_path, *arguments)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    (expected,) = runtime_outputs(proto, {"x": x})
    outputs = np.load(tmp_path / "run" / "outputs.npy")
    np.testing.assert_allclose(outputs, expected, atol=1e-4 * np.abs(expected).max())
    assert f"(5, {CLASSES})" in done.stdout


def test_open_axes_have_their_length_from_the_command(tmp_path: Path) -> None:
    saved(tmp_path, network(side="pixels"))
    np.save(tmp_path / "x.npy", images(2))
    done = taihusim(tmp_path, "infer", "model.onnx", "--input", "x.npy", "--shape", "pixels=8", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"][0]["batch"] == 2


@pytest.mark.numeric
def test_training_is_the_same_on_tiles_and_layers(tmp_path: Path) -> None:
    """Three epochs; the loss of every step, and it falls."""
    saved(tmp_path, network())
    labels = np.arange(96) % CLASSES
    pictures = RNG.normal(size=(96, SIDE, SIDE)) + 3 * labels[:, None, None]
    np.savez(tmp_path / "images.npz", images=pictures, labels=labels)
    (tmp_path / "stripes.yaml").write_text(WORKLOAD)
    losses = []
    for numerics in ("tile", "layer"):
        arguments = ("--nodes", "1", "--numerics", numerics, "--out", numerics)
        done = taihusim(tmp_path, "train", "stripes.yaml", *arguments)
        assert done.returncode == 0, done.stderr
        losses.append(steps(tmp_path / numerics))
    assert len(losses[0]) == 18
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)
    assert np.mean(losses[0][-6:]) < 0.8 * np.mean(losses[0][:6])


def steps(folder: Path) -> list[float]:
    """The losses of a run's steps."""
    (run,) = json.loads((folder / "train.json").read_text())["result"]["runs"]
    return [point["loss"] for point in run["curve"] if point["loss"] is not None]


def test_training_wants_a_loss(tmp_path: Path) -> None:
    saved(tmp_path, network())
    np.savez(tmp_path / "images.npz", images=images(96)[:, 0], labels=np.arange(96) % CLASSES)
    (tmp_path / "stripes.yaml").write_text(WORKLOAD.replace("  loss: {type: cross_entropy}\n", ""))
    check_refused(taihusim(tmp_path, "train", "stripes.yaml", "--nodes", "1"), "model.loss: expected a loss")


def truncated(folder: Path) -> None:
    path = saved(folder, network())
    path.write_bytes(path.read_bytes()[:-40])


def corrupt(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 8)


def oversized(folder: Path) -> None:
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(2**31 + 5)


def open_axes(folder: Path) -> None:
    saved(folder, network(side="pixels"))


def unknown(folder: Path) -> None:
    saved(folder, model([node("Sin", "x", "a"), node("Det", "a")], {"x": ("N", 1, SIDE, SIDE)}))


def missing(folder: Path) -> None:
    """Nothing is written."""


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (truncated, "a whole ONNX file; this one is damaged or cut short"),
        (corrupt, "a whole ONNX file; this one is damaged or cut short"),
        (oversized, "a file below 2 GiB"),
        (open_axes, "--shape pixels=LENGTH"),
        (unknown, "sin_a: expected only supported operators; Sin is not one of them"),
        (missing, "an ONNX file that exists"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(write: Any, text: str, tmp_path: Path) -> None:
    write(tmp_path)
    np.save(tmp_path / "x.npy", images(2))
    check_refused(taihusim(tmp_path, "infer", "model.onnx", "--input", "x.npy"), text)


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    saved(tmp_path, network())
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    check_refused(taihusim(tmp_path, "infer", "model.onnx", "--input", "x.npy"), "(samples, 1, 8, 8)")


def check_refused(done: Done, text: str) -> None:
    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
