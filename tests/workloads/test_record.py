"""Run records and checkpoints: whole, checked, and the same for the same run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.problems import BadInput
from tests.workloads.records import infer_record, train_record
from workloads.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    run_key,
    save_checkpoint,
    save_weights,
    weights_sha256,
)
from workloads.load import describe, load_workload
from workloads.record import RunRecord, as_plain, load_record, save_record, without_host_times


@pytest.mark.parametrize("record", [train_record(), infer_record()], ids=["train", "infer"])
def test_what_is_written_is_read(tmp_path: Path, record: RunRecord) -> None:
    save_record(record, tmp_path / "runs" / "r.json")
    assert load_record(tmp_path / "runs" / "r.json") == record
    assert json.loads((tmp_path / "runs" / "r.json").read_text())["schema"] == 1
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["r.json"]


def test_fields_come_in_the_same_order_whatever_the_order_they_were_given_in(tmp_path: Path) -> None:
    record = train_record()
    runs = [dict(reversed(run.items())) for run in record.result["runs"]]
    turned = replace(record, result={"runs": runs, **{k: v for k, v in record.result.items() if k != "runs"}})
    save_record(record, tmp_path / "a.json")
    save_record(turned, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_host_times_are_all_that_may_differ() -> None:
    first, second = train_record(), train_record(host_seconds=7.0)
    assert first != second
    assert without_host_times(as_plain(first)) == without_host_times(as_plain(second))


def test_further_fields_are_kept_and_numbers_made_plain(tmp_path: Path) -> None:
    record = train_record()
    record.result["runs"][0].update(reduction_order="pairwise", final_loss=np.float64("nan"), steps=np.int64(12))
    save_record(replace(record, workload=describe(load_workload("digits"))), tmp_path / "r.json")
    loaded = load_record(tmp_path / "r.json")
    run = loaded.result["runs"][0]
    assert (run["reduction_order"], run["final_loss"], run["steps"]) == ("pairwise", None, 12)
    assert loaded.workload["model"]["input"] == [8, 8, 1]


def test_a_result_that_lacks_fields_is_not_written(tmp_path: Path) -> None:
    record = train_record()
    del record.result["runs"][1]["bottleneck"]
    record.result["runs"][0]["steps"] = 1.5
    with pytest.raises(BadInput) as caught:
        save_record(record, tmp_path / "r.json")
    assert {problem.key for problem in caught.value.problems} == {"result.runs.0.steps", "result.runs.1.bottleneck"}
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    save_record(train_record(), path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        save_record(infer_record(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "readable JSON"),
        ("{", "readable JSON"),
        ("[]", "the field schema"),
        ('{"schema": 2, "kind": "train"}', "found 2"),
        ('{"schema": 1, "kind": "sing"}', "train or infer"),
        ('{"schema": 1, "kind": "train"}', "result: expected this key"),
    ],
)
def test_files_that_are_no_records(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=words):
        load_record(path)


def test_a_missing_record(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a file that exists"):
        load_record(tmp_path / "none.json")


def checkpoint() -> Checkpoint:
    rng = np.random.default_rng(0)
    weights = {"conv2d1.weight": rng.standard_normal((3, 3, 1, 16)), "linear1.bias": np.float32(rng.random(10))}
    return Checkpoint(
        key=run_key(seed=0, nodes=16),
        step=40,
        parameters=weights,
        optimizer={"velocity:conv2d1.weight": rng.standard_normal((3, 3)), "steps": [40, 0.1 + 0.2], "none": None},
        stream={"seed": 0, "max_shift": 1, "images": 1437, "drawn": 640},
        curve=[{"seconds": 0.1, "samples": 640, "loss": 2.3, "accuracy": float("nan")}],
    )


class TestCheckpoint:
    def test_nothing_is_lost(self, tmp_path: Path) -> None:
        written, path = checkpoint(), tmp_path / "c.npz"
        save_checkpoint(written, path)
        read = load_checkpoint(path, key=written.key)
        np.testing.assert_equal(vars(read), vars(written))
        assert read.parameters["linear1.bias"].dtype == np.float32
        assert weights_sha256(read.parameters) == weights_sha256(written.parameters)
        assert list(tmp_path.iterdir()) == [path]

    def test_another_run_is_refused(self, tmp_path: Path) -> None:
        save_checkpoint(checkpoint(), tmp_path / "c.npz")
        with pytest.raises(BadInput, match="another machine, workload, mapping or seed"):
            load_checkpoint(tmp_path / "c.npz", key=run_key(seed=1, nodes=16))

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "c.npz"
        save_checkpoint(checkpoint(), path)
        whole = path.read_bytes()
        for damaged in (b"", whole[:-40], whole[:300] + b"\1" * 8 + whole[308:]):
            path.write_bytes(damaged)
            with pytest.raises(BadInput, match="a whole file"):
                load_checkpoint(path)
        np.savez(path, images=np.zeros(3))
        with pytest.raises(BadInput, match="a whole file"):
            load_checkpoint(path)

    def test_weights_alone(self, tmp_path: Path) -> None:
        weights = checkpoint().parameters
        save_weights(weights, tmp_path / "w.npz")
        save_checkpoint(checkpoint(), tmp_path / "c.npz")
        for name in ("w.npz", "c.npz"):
            assert weights_sha256(load_weights(tmp_path / name)) == weights_sha256(weights)
        with pytest.raises(BadInput, match="a checkpoint of a training run"):
            load_checkpoint(tmp_path / "w.npz")

    def test_the_fingerprint_sees_every_bit_and_name(self) -> None:
        weights = {"a": np.zeros(3), "b": np.ones(2)}
        nudged = {"a": np.array([0.0, np.nextafter(0.0, 1.0), 0.0]), "b": np.ones(2)}
        swapped = {"b": np.zeros(3), "a": np.ones(2)}
        prints = {weights_sha256(each) for each in (weights, nudged, swapped)}
        assert len(prints) == 3
        assert weights_sha256(dict(reversed(weights.items()))) == weights_sha256(weights)
